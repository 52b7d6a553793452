"""A clinician has looked again at a report whose AI result was recalled."""

from starlette.responses import Response

from fhir_server.fhir.recalls import RECALL_REVIEW
from smart_app.pages.acting import now_of
from smart_app.problems import Problem
from smart_app.visit import Visit


async def looked_again(visit: Visit) -> Response:
    """Completes the Task that asked for it: only who is asked, and only once."""
    report = visit.request.path_params["report"]
    task = await visit.own("Task", visit.text("task"))
    codes = [each.get("code") for each in task["code"].get("coding", ())]
    is_of_report = visit.fhir.key(task.get("focus", {}).get("reference", "/"))[1] == report
    if RECALL_REVIEW["code"] not in codes or not is_of_report:
        raise Problem("not-found")
    if task.get("owner", {}).get("reference") != visit.session.fhir_user:
        raise Problem("not-permitted")
    if task["status"] == "requested":
        done = {**task, "status": "completed", "lastModified": now_of(visit)}
        put = {
            "method": "PUT",
            "url": f"Task/{task['id']}",
            "ifMatch": f'W/"{task["meta"]["versionId"]}"',
        }
        entry = {"resource": done, "request": put}
        await visit.fhir.transaction(
            {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        )
    return visit.see(f"reports/{report}")
