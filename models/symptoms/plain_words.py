"""Words that a note may begin with a capital and that name nobody; all other capitalised words are
taken for names before a note leaves (`redact.py`). Compared in lower case."""

import re

PLAIN_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        a abdomen abdominal able about above absent abuse ache aches active acute admitted
        adult afebrile after afternoon again age aged ago alert all allergic allergies
        allergy almost alone also altered always am an anaemia anaemic and anemia anemic
        anorexia another antenatal antibiotics antimalarial any anyone appears appetite are
        arm arms arrived artemether artesunate arthralgia as ask asked aspirin assess
        assessment asthma at attack aunt avpu awake away baby back bad be became because
        become bed been before began behaviour being belly below better between bitten black
        bleeding bleeds blood blurred bmi body both boy bp bpm breast breastfeeding breath
        breathing breathless brother brought bruises burning but by c-section came can can't
        cannot cannula cardiac check chest child children chill chills chronic clear clinic
        clinical closed cns cola cold colour coloured coma comatose come comes complaining
        complains complaint condition conjunctivitis conscious consider constant
        constipation contact convulsing convulsion convulsions convulsive cough coughing
        coughs could cramps csf ct cvs cyanosis daily dark daughter day days dead deep
        dehydrated dehydration delirious delirium dengue denied denies diabetes diabetic
        diagnostic diarrhea diarrhoea did didn't difficult difficulty discharge discomfort
        distress dizziness dizzy do dob doctor does doesn't done dose down drink drinking
        drinks drowsiness drowsy dry due during dyspnea dyspnoea dysuria each ear ears eat
        eating eats ecg edema either elderly emesis epigastric epilepsy epileptic epistaxis
        even evening ever every examination examine examined exposure extremely eye eyes
        face faint fainted fair falciparum fall fast father fatigue febrile feed feeding
        feels feet felt female fever feverish fevers few fine first fit fits flank fluids
        following food for found four friday friend from full gave gcs general generalised
        generalized generally get getting gi girl give given go going good got gravid growth
        had haematemesis haematuria haemoglobin hand hands hard has hasn't have haven't
        having hb he head headache headaches healthy heart heavy height hematuria hemoglobin
        hepatitis her herbal here herself high him himself his history hiv home hospital hot
        hour hours how however hr hungry husband hypertension hypertensive hypotension i
        icterus if ill illness im immediately improved in increased indrawing infant
        infected infection initially injection irritable is isn't it itching its iv jaundice
        jaundiced joint joints just jvp kidney known labored laboured last lasting late
        later left leg legs less lethargic lethargy like liver lives living loin long look
        looking looks loose losing loss lost low lower lung lungs lying malaise malaria
        malariae male man many marked may measles measure medication medicine melaena melena
        meningitis mental mild miscarriage moderate monday month months more morning
        mosquito mosquitoes most mother mouth mri much muscle muscles myalgia nad nausea
        nauseous neck needs negative neighbor neighbour neonate never new newborn next night
        no nobody non none noon normal nose nosebleed not note nothing now nurse observed
        oedema of off often old on once one only onset opd or oral ors other otherwise our
        out ovale over oxygen p pain painful pains pale pallor palpitations paracetamol
        parasites parents partial passing past patient patients per persistent petechiae
        plasmodium pneumonia po poor positive possible postpartum pr prefers pregnancy
        pregnant presented presenting presents pressure previous previously prior problem
        productive progressive prostrate prostrated prostration pt pts pulse purpura pus pv
        pyrexia quick quiet quinine rapid rash rate rather rbc rbs rdt re reads recent
        recently red refer refers refused refuses refusing relative repeat report reported
        reportedly reports resolved respiratory rest restless result results returned
        returning right rigor rigors routine rr runny rx said same sat saturation saturday
        says sc sclerae seems seen seizure seizures sepsis septic severe severely shaking
        she shivering shivers short shortness should show shows sick sickle side sign signs
        since sister sit sits sitting sixth skin sleep sleeping sleeps sleepy slept slight
        slightly slow small smear sneezing so sob some somebody someone sometimes son soon
        sore spleen splenomegaly spo2 spots spouse sputum stable stand stands started starts
        state status stays stiff stiffness still stomach stool stools stopped strong such
        suck sucking sudden suddenly sugar suggests sunday suspected swallow sweating sweats
        sweaty swelling swollen symptom symptoms systolic taken takes taking talking tb tea
        temp temperature ten test tested tests than that the their them then there these
        they third thirsty thirty this those though three throat throwing thursday tired to
        today tongue tonsillitis took tooth total touch transfused transfusion travel
        travelled travels treated treatment tremor trip tuberculosis tuesday tummy twice
        twins two typhoid ulcer unable uncle unconscious under unit unknown unresponsive
        until unwell up upper urgent urinary urinating urination urine us uses usual usually
        uti very via violent virus vision visit visited visits vivax vomited vomiting vomits
        waist wake waking walk walking walks wanted ward warm was wasn't water watery wbc we
        weak weakness wednesday week weeks weight well went were what whats whatsapp wheeze
        wheezing when where which while white who whole whom whose wife will with without
        woke woman won't worse worsened worsening worst would wound x-ray xray yawning year
        years yellow yes yesterday yet young yours
        """,
    )
)
