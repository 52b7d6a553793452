// Makes the replica set and the service's own user; run by the `mongo-init` container with
// `mongosh --nodb`. Repeating it changes nothing but the user's password.

const fs = require("fs");

// Another set than that of docker-compose.yml is named in the environment.
const MEMBERS = (process.env.MEMBERS || "mongo-1:27017,mongo-2:27017,mongo-3:27017").split(",");
const SET = "medsage";
const DATABASE = "medsage";
const PATIENCE_MS = 120000;

function secret(name) {
  return fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();
}

function address(hosts, options) {
  const root = encodeURIComponent(secret("mongo_root_password"));
  return `mongodb://root:${root}@${hosts}/admin?${options}`;
}

function initiate() {
  const admin = connect(address(MEMBERS[0], "directConnection=true"));
  try {
    admin.adminCommand({ replSetGetStatus: 1 });
    print("the replica set is there already");
  } catch (problem) {
    if (problem.codeName !== "NotYetInitialized") throw problem;
    const members = MEMBERS.map((host, _id) => ({ _id, host, priority: _id === 0 ? 2 : 1 }));
    admin.adminCommand({ replSetInitiate: { _id: SET, members } });
    print("the replica set is made");
  }
  const until = Date.now() + PATIENCE_MS;
  while (!admin.adminCommand({ hello: 1 }).setName || !hasPrimary(admin)) {
    if (Date.now() > until) throw new Error("no member became primary in two minutes");
    sleep(500);
  }
}

function hasPrimary(admin) {
  return admin.adminCommand({ replSetGetStatus: 1 }).members.some((each) => each.stateStr === "PRIMARY");
}

function makeUser() {
  const set = connect(address(MEMBERS.join(","), `replicaSet=${SET}`)).getSiblingDB(DATABASE);
  const pwd = secret("mongo_medsage_password");
  const roles = [{ role: "readWrite", db: DATABASE }];
  if (set.getUser("medsage") === null) {
    set.createUser({ user: "medsage", pwd, roles });
    print("the user medsage is made");
  } else {
    set.updateUser("medsage", { pwd, roles });
    print("the user medsage is as it should be");
  }
}

initiate();
makeUser();
