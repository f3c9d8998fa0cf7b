"""Sentence templates, in two disjoint banks.

Slots: {np} noun phrase without article, {anp} with article, {Np} and {Anp} the same with a capital,
{nn} plain noun for negations, {Nn} with a capital; {is} {has} {was} {does} agree with the noun;
{loc} optional place (with its leading space); {size} a measurement; {when} a date;
{n1} {n2} {n3} plain nouns of several absent findings; {wug} {Wug} {wugs} a made-up word (training bank
only): it teaches which words matter, so that an unknown one beside them changes nothing.
"""

from findings_bank import words

TRAIN = {
    "present": words(
        "The examination {wug}s {anp}{loc}.|{Anp}{loc} {is} {wug}ed.|{Wug} {np}{loc}.|There {is} {anp}{loc}, {wug}.|The {wug} {wugs} {anp}{loc}.|{Wug} {wug} of {np}.|In {wug} {np}{loc}.|"
        "There {is} {anp}{loc}.|There {is} {anp}{loc}.|{Anp}{loc} {is} seen.|{Np}{loc}.|{Np}{loc}.|"
        "{Anp}{loc} {is} present.|{Anp}{loc} {is} noted.|{Anp}{loc} {is} identified.|"
        "The examination demonstrates {anp}{loc}.|Imaging shows {anp}{loc}.|{Np}{loc} {is} visible.|"
        "Again seen {is} {anp}{loc}.|New {np}{loc}.|Interval development of {anp}{loc}.|"
        "There {has} been interval development of {anp}.|Findings are consistent with {anp}.|"
        "Findings in keeping with {np}{loc}.|{Anp}{loc} can be seen.|We see {anp}{loc}.|"
        "{Anp}{loc} {is} evident on this study.|Evidence of {np}{loc}.|There is evidence of {np}{loc}.|"
        "Redemonstration of {np}{loc}.|The study is positive for {np}.|Note is made of {anp}{loc}.|"
        "{Anp}{loc} {has} developed.|Appearances are those of {np}.|{Np}{loc} {is} confirmed.|"
        "There {is} also {anp}{loc}.|Additionally, {anp}{loc} {is} seen.|Diagnosis: {np}.|"
        "Known {np}, again demonstrated.|This study reveals {anp}{loc}.|Positive for {np}.|"
        "{Np} as described above.|Imaging features of {np}.|Images depict {anp}{loc}.|"
        "The patient has {anp}{loc}.|Incidental note of {anp}{loc}.|Incidentally, {anp}{loc} {is} found.|"
        "{Np} {is} redemonstrated.|The main abnormality is {anp}{loc}.|{Anp} {was} detected{loc}.|"
        "Mild to moderate {nn}{loc}.|Signs of {np} are present.|Typical signs of {np}."),
    "measured": words(
        "There {is} {anp}{loc} measuring {size}.|{Anp}{loc} measures {size}.|{Np}{loc}, {size}.|"
        "{Size} {nn}{loc}.|{Anp} of {size} {is} seen{loc}.|{Np} measuring up to {size}{loc}.|"
        "{Np}{loc} with a maximum diameter of {size}."),
    "changed": words(
        "The {np} {wugs} since {when}.|The {np} {is} {wug} compared with {when}.|The {wug} {np} persists.|The {np} {has} {wug}ed but {is} still {wug}.|"
        "{Np}{loc} {is} unchanged compared with {when}.|Unchanged {np}{loc}.|Stable {np}{loc}.|"
        "Persistent {np}{loc}.|{Np} {has} increased in size since {when}.|Interval increase in the {np}{loc}.|"
        "The {np} {has} decreased but {is} still present.|Slight decrease in the {np}.|"
        "No significant change in the {np}{loc}.|The {np} {is} larger than on the prior examination.|"
        "Compared to {when}, the {np} {has} worsened.|The known {np} {is} stable.|"
        "{Np}{loc} {is} similar to prior.|No interval change in the {np}.|Worsening {np}{loc}.|"
        "The {np} {has} not changed since {when}.|Residual {np}{loc}.|Improving {np}, not yet resolved.|"
        "The {np} {has} not resolved.|Progression of the {np} since {when}.|Re-demonstrated {np}, unchanged.|"
        "The {np} {is} smaller than before but {has} not cleared.|Known {np} without significant change.|"
        "The {np} persists.|Incomplete resolution of the {np}."),
    "suspected": words(
        "This would {wug} {np}.|{Wug} {wugs} to {np}.|Probably {wug} {np}{loc}.|"
        "Possible {np}{loc}.|Probable {np}{loc}.|Suspected {np}{loc}.|Likely {np}{loc}.|"
        "Findings are suspicious for {np}.|Appearances suggest {anp}.|Findings suggestive of {np}{loc}.|"
        "This likely represents {anp}.|{Np} {is} likely.|{Np} {is} suspected.|Concerning for {np}.|"
        "This may represent {anp}.|Findings most likely represent {np}.|There {is} probably {anp}{loc}.|"
        "Appearances raise suspicion of {np}.|Presumed {np}{loc}.|Features favour {np}.|"
        "There may be {anp}{loc}.|{Np} {is} probable.|Compatible with {np}.|High suspicion of {np}.|"
        "Questionable {np}{loc}.|Findings worrisome for {np}.|{Np} {is} possible.|"
        "Apparent {np}{loc}.|Could represent {anp}.|Suspicion of {np}{loc}."),
    "absent": words(
        "No {wug} {nn}.|There {is} no {wug} {nn}.|No {nn} {is} {wug}ed.|No {wug} of {nn}.|{Nn} {is} not {wug}ed.|Images do not {wug} {nn}.|No {nn} could {wug}.|There is no {wug} of {nn}.|{Wug} absence of {nn}.|Nothing {wug}s {nn}.|"
        "No {nn}.|No {nn}.|No {nn}.|There {is} no {nn}.|There {is} no {nn}.|There is no evidence of {nn}.|"
        "No {nn} {is} seen.|No {nn} {is} identified.|No evidence of {nn}.|Negative for {nn}.|"
        "{Nn} {is} not seen.|{Nn} {is} not identified.|Absence of {nn}.|{Nn} {has} been ruled out.|"
        "{Nn} {is} excluded.|No sign of {nn}.|The study is negative for {nn}.|Without evidence of {nn}.|"
        "There are no signs of {nn}.|No definite {nn}.|No {nn} {is} present.|{Nn}: none.|{Nn}: absent.|"
        "No convincing evidence of {nn}.|No radiographic evidence of {nn}.|No imaging evidence of {nn}.|"
        "Free of {nn}.|We do not see {anp0}.|{Nn} could not be demonstrated.|{Nn} {is} absent.|"
        "No acute {nn}.|No significant {nn}.|There {is} no visible {nn}.|Imaging does not show {nn}.|"
        "{Nn} {was} not found.|No {nn} can be seen.|{Nn} can be ruled out.|No {nn} {is} noted.|"
        "No suspicious {nn}.|Exam rules out {nn}.|Nothing to suggest {nn}.|No features of {nn}.|"
        "{Nn} not demonstrated.|No demonstrable {nn}.|"
        "Without {nn}.|No focal {nn}.|No {nn} on this examination.|Lack of {nn}.|{Nn} {is} not present.|"
        "The patient does not have {anp0}.|No indication of {nn}."),
    "absent_many": words(
        "No {wug} {n1}, {n2} or {n3}.|Images {wug} neither {n1} nor {n2}.|There is no {wug} of {n1} or {n2}.|{N1} and {n2} are not {wug}ed.|"
        "No {n1} or {n2}.|No {n1} or {n2}.|No {n1}, {n2} or {n3}.|There is no {n1}, {n2}, or {n3}.|"
        "There is no {n1} or {n2}.|Negative for {n1} and {n2}.|Neither {n1} nor {n2} is seen.|There is neither {n1} nor {n2}.|"
        "No evidence of {n1}, {n2}, or {n3}.|No {n1}. No {n2}.|No {n1}, no {n2} and no {n3}.|"
        "No {n1} and no {n2}.|There is no evidence of {n1} or {n2}.|Without {n1} or {n2}.|"
        "{N1}, {n2} and {n3} are not seen.|Absence of {n1} and {n2}.|No {n1}, {n2}, {n3}.|"
        "No signs of {n1} or of {n2}.|No {n1} or {n2} is identified.|{N1} and {n2} are excluded."),
    "mixed": words(
        "{Wug} no {n1} {is1} seen, {anp}{loc} {is} {wug}ed.|{Np}{loc}, {wug} without {wug} {n1}.|{Np}{loc}, {wug} no {n1}.|"
        "{Anp}{loc} {is} seen without {n1}.|{Np}{loc} but no {n1}.|No {n1}, but there {is} {anp}{loc}.|"
        "{Np}{loc} without {n1} or {n2}.|There {is} {anp}{loc}, with no {n1}.|{Np}, no {n1}.|"
        "Although there is no {n1}, {anp}{loc} {is} present.|{Np}{loc}; no {n1}.|"
        "{Anp}{loc} {is} noted. No {n1} or {n2}.|No {n1}; however, {anp}{loc} {is} seen.|"
        "{Np} in the absence of {n1}.|There {is} {anp}{loc} and no {n1}.|"
        "Apart from {anp}{loc}, no {n1} {is1} seen.|No evidence of {n1}. {Np}{loc}."),
    "present_many": words(
        "{Np}{loc} {wug} {q1}.|{Wug} {np} and {q1} are {wug}ed.|"
        "{Np}{loc} and {q1}.|{Np}{loc} with {q1}.|There {is} {anp}{loc} and {q1}.|{Np} and {q1} {are} seen.|"
        "{Np}{loc}, {q1}.|{Np}{loc} as well as {q1}.|{Np}{loc} accompanied by {q1}.|"
        "{Np}{loc} associated with {q1}."),
    "not_excluded": words(
        "{Np} cannot be {wug} excluded.|It {is_sg} {wug} to exclude {np}.|{Np} {is} {wug} unlikely.|"
        "{Np} cannot be excluded.|{Np} cannot be excluded.|Cannot exclude {np}.|{Np} {is} not excluded.|"
        "{Np} cannot be ruled out.|{Np} {is} unlikely.|{Np} {is} considered unlikely.|"
        "An underlying {nn} cannot be excluded.|{Np} {is} not entirely excluded.|"
        "Low suspicion for {np}.|{Np} {is} difficult to exclude.|We cannot rule out {np}.|"
        "{Np} {is} improbable.|Evaluation for {np} {is_sg} limited; it cannot be excluded."),
    "resolved": words(
        "The {wug} {np} {has} resolved.|{Wug} resolution of {np}.|{Np} {has} resolved {wug}.|"
        "The previously seen {np} {has} resolved.|Interval resolution of the {np}.|{Np} {is} no longer seen.|"
        "The {np} noted on {when} {has} resolved.|Resolution of the previous {np}.|"
        "Prior {np} {has} completely cleared.|The {np} seen previously {is} no longer present.|"
        "Complete resolution of {np} since {when}.|The earlier {np} {has} disappeared.|"
        "Previously noted {np} {is} not seen today.|{Np} {has} resolved since {when}.|"
        "Interval clearing of the {np}.|Resolved {np}.|The {np} described on {when} {has} resolved completely.|"
        "Compared with {when}, the {np} {is} no longer visible.|No residual {nn}.|No recurrent {nn}."),
    "history": words(
        "{Wug} {np}.|{Wug} {wug}: {np}?|{Wug} to {wug} {np}.|{Wug} {wug} of {np}.|"
        "Rule out {np}.|Evaluate for {np}.|History of {np}.|? {np}|Clinical suspicion of {np}.|Query {np}.|"
        "Follow-up of known {np}.|Previous {np} in 2019.|Assess for {np}.|Concern for {np}.|R/o {np}.|"
        "Please exclude {np}.|Suspected {np}.|Past medical history of {np}.|Known {np}.|"
        "Question of {np}.|Pain and fever, {np}?|Treated for {np} last year.|Possible {np}.|"
        "Family history of {np}.|Clinically {np}.|Screening for {np}."),
    "plain_history": words(
        "{Wug} {wug}.|{Wug} pain.|"
        "Cough.|Shortness of breath.|Abdominal pain.|Fall from standing height.|Chest pain.|Fever.|"
        "Routine follow-up.|Abnormal liver function tests.|Flank pain.|Weight loss.|Preoperative.|"
        "{age}-year-old with dyspnoea.|{age}-year-old man with right upper quadrant pain.|"
        "{age}-year-old woman, screening.|Trauma.|Haematuria.|Elevated CRP.|Staging.|Back pain."),
    "filler": {
        "chest": words(
            "The trachea is midline.|The hila are unremarkable.|The mediastinal contours are normal.|"
            "An endotracheal tube is in satisfactory position.|A central line tip projects over the SVC.|"
            "Sternotomy wires are noted.|The upper abdomen is unremarkable.|The thoracic aorta is tortuous.|"
            "There is a pacemaker in the left chest wall.|The soft tissues are unremarkable.|"
            "The diaphragm is well defined.|Calcified granuloma is unchanged.|"
            "The airways are patent.|The nasogastric tube tip is in the stomach.|"
            "Aortic calcification is noted.|The thoracic inlet is normal.|Degenerative changes in the spine.|"
            "Mild biapical scarring.|Dose 4 mGy·cm.|Reported by Dr. José Núñez.|The thoracic cavity is symmetrical.|Lung volumes are low."),
        "abdomen": words(
            "The pancreas is unremarkable.|The common bile duct measures {mm:3-6} mm.|"
            "The portal vein is patent.|The adrenal glands are normal.|The bladder is partially filled.|"
            "The bowel is unremarkable.|The right kidney measures {cm:9.5-12.0} cm.|"
            "The left kidney measures {cm:9.5-12.0} cm.|The liver measures {cm:12.0-16.0} cm.|"
            "The appendix is normal.|Bowel gas obscures the pancreatic tail.|The prostate is enlarged.|"
            "The uterus is unremarkable.|The inferior vena cava is normal.|"
            "The hepatic veins are patent.|The gallbladder wall measures {mm:1-3} mm.|"
            "The peritoneal cavity is unremarkable.|The lumen of the bowel is normal.|"
            "Creatinine {mm:50-110} µmol/L.|Slice thickness ≤ 2 mm.|Read by Dr. René Weiß.|"
            "Vascular calcification is noted.|The abdominal wall is intact.|The stomach is distended."),
    },
    "normal_many": [
        ("The lungs are clear.", ("pneumonia", "pulmonary nodule", "pulmonary edema")),
        ("Clear lungs.", ("pneumonia", "pulmonary nodule", "pulmonary edema")),
        ("Both lungs are clear.", ("pneumonia", "pulmonary nodule", "pulmonary edema")),
        ("The lungs and pleural spaces are clear.",
         ("pneumonia", "pulmonary nodule", "pulmonary edema", "pleural effusion", "pneumothorax")),
        ("The heart and lungs are normal.",
         ("cardiomegaly", "pneumonia", "pulmonary nodule", "pulmonary edema")),
        ("Normal liver.", ("cirrhosis", "hepatic steatosis")),
        ("The liver is normal.", ("cirrhosis", "hepatic steatosis")),
        ("The liver is normal in size and appearance.", ("cirrhosis", "hepatic steatosis")),
        ("The liver is unremarkable.", ("cirrhosis", "hepatic steatosis")),
        ("The kidneys are normal.", ("hydronephrosis", "renal calculus")),
        ("Both kidneys are unremarkable.", ("hydronephrosis", "renal calculus")),
        ("The liver, spleen and kidneys are unremarkable.",
         ("cirrhosis", "hepatic steatosis", "splenomegaly", "hydronephrosis", "renal calculus")),
    ],
    "comparison": words("None.|{when}.|Radiograph of {when}.|CT {when}.|Prior study dated {when}.|"
                        "No prior available.|Ultrasound from {when}."),
    "closing": words("Recommend clinical correlation.|Follow-up in 6 months is recommended.|"
                     "No further abnormality.|Findings discussed with the referring team.|"
                     "Otherwise unremarkable.|Consider CT for further evaluation.|No acute abnormality."),
}

# None of these sentence frames may occur in training text; reports.py asserts it.
HELD = {
    "present": words(
        "This examination establishes {anp}{loc}.|{Anp}{loc} {is} clearly depicted.|"
        "The images document {anp}{loc}.|One observes {anp}{loc}.|{Anp}{loc} {is} apparent today.|"
        "The scan uncovers {anp}{loc}.|In addition there {is} {anp}{loc}.|{Anp}{loc} {is} recognised.|"
        "Overall picture of {np}.|{Np}{loc} {is} shown here."),
    "measured": words(
        "{Anp}{loc} with a diameter of {size} {is} apparent.|{Anp}{loc}, {size} across.|"
        "{Np}{loc} spanning {size}."),
    "changed": words(
        "The {np} remains as it was on {when}.|{Np} {is} constant since {when}.|"
        "The {np} {has} grown since {when}.|There {has} been no relevant change of the {np}.|"
        "Further progression of {np}{loc}.|The {np} still {is_pl} visible, somewhat smaller."),
    "suspected": words(
        "The appearance is highly suggestive of {np}.|In all likelihood {np}{loc}.|"
        "The pattern would fit {np}.|Findings probably due to {np}.|There {is} a suspicion of {np}{loc}.|"
        "Most probably {np}{loc}.|The appearance points to {np}."),
    "absent": words(
        "There {is} no detectable {nn}.|No {nn} could be found.|{Nn} {is} not visualised.|"
        "The images do not reveal {nn}.|No trace of {nn}.|No suggestion of {nn}.|"
        "There is no appreciable {nn}.|{Nn} {is} ruled out by this study.|"
        "The study shows no evidence for {nn}.|Complete absence of {nn}.|"
        "{Nn} {is} not apparent.|No {nn} {is} recognised."),
    "absent_many": words(
        "No detectable {n1}, {n2} or {n3}.|The images reveal neither {n1} nor {n2}.|"
        "No trace of {n1} or {n2}.|There is no suggestion of {n1} or {n2}.|"
        "{N1} and {n2} are not visualised."),
    "mixed": words(
        "{Anp}{loc} {is} apparent, yet no {n1} is found.|While no {n1} {is1} found, {anp}{loc} {is} apparent.|"
        "{Np}{loc}, though without any {n1}.|There {is} {anp}{loc}, but {n1} {is1} not visualised."),
    "present_many": words(
        "{Np}{loc} together with {q1}.|{Np}{loc} plus {q1}.|Both {np} and {q1} are apparent."),
    "not_excluded": words(
        "It is not possible to exclude {np}.|{Np} cannot be excluded with certainty.|"
        "{Np} {is} thought to be unlikely.|{Np} cannot be fully excluded on this study."),
    "resolved": words(
        "The former {np} {has} resolved in the meantime.|{Np} of {when} {has} cleared entirely.|"
        "The {np} from {when} can no longer be seen.|Full resolution of the {np}.|"
        "{Np}, present on {when}, {has} resolved."),
    "history": words(
        "Request: exclude {np}.|To look for {np}.|Known to have had {np} years ago.|"
        "Referral question: {np}?|Earlier episode of {np}.|Clinical concern regarding {np}."),
    "plain_history": words(
        "Persistent cough for weeks.|Epigastric discomfort.|{age}-year-old patient with malaise.|"
        "Annual check.|Unclear fever."),
    "filler": {
        "chest": words(
            "The bronchi are unremarkable.|Mediastinal width is regular.|A port catheter is in place.|"
            "Old scars at both apices.|The aortic arch is calcified.|The chest wall is unremarkable."),
        "abdomen": words(
            "Pancreas of regular shape.|The stomach is empty.|The urinary bladder is well filled.|"
            "The bile duct is slender at {mm:3-6} mm.|The portal vein shows regular flow.|"
            "The colon is unremarkable."),
    },
    "normal_many": [
        ("Lungs clear on both sides.", ("pneumonia", "pulmonary nodule", "pulmonary edema")),
        ("Liver of normal appearance.", ("cirrhosis", "hepatic steatosis")),
        ("Kidneys of normal appearance.", ("hydronephrosis", "renal calculus")),
    ],
    "comparison": words("Earlier study of {when}.|Not available."),
    "closing": words("Clinical follow-up advised.|No other abnormal finding.|Otherwise regular findings."),
}
