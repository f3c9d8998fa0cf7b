"""The findings: names asked for, and what reports say about them.

Every finding has two disjoint banks of wording, `train` and `held` (see reports.py).
A noun is written "kind:text" with kind a (countable), m (mass noun) or p (plural).
Statements are whole sentences of which the finding is the subject; {side} is left or right,
{mm:a-b} and {cm:a-b} are numbers.
"""

CHEST = "chest"
ABDOMEN = "abdomen"


def words(text):
    """Splits a |-separated list; keeps the tables below narrow."""
    return [part.strip() for part in text.split("|") if part.strip()]


def bank(nouns, present="", absent=""):
    return {"nouns": words(nouns), "present": words(present), "absent": words(absent)}


def finding(name, region, ask, train, held, size="", side=False, place="", measure=None):
    return {"name": name, "region": region, "ask": [name] + words(ask), "train": train,
            "held": held, "size": words(size), "side": side, "place": words(place),
            "measure": measure}


AMOUNT = "small|moderate|large|trace|mild|minimal|massive"
LUNG_PLACES = ("in the right lower lobe|in the left lower lobe|in the right upper lobe|"
               "in the left upper lobe|in the right middle lobe|in the lingula|"
               "at the left lung base|at the right lung base|in the left lung|in the right lung")
KIDNEY_PLACES = ("on the left|on the right|in the left kidney|in the right kidney|bilaterally|"
                 "in the lower pole|in the upper pole|on both sides")

FINDINGS = [
    finding(
        "pleural effusion", CHEST, "pleural effusions|pleural fluid|a pleural effusion|effusion",
        bank("a:pleural effusion|a:pleural effusion|p:pleural effusions|m:pleural fluid|"
             "m:fluid in the pleural space|a:parapneumonic effusion|a:loculated effusion|"
             "m:free pleural fluid|a:pleural collection|a:hydrothorax|a:layering effusion|"
             "p:effusions|a:subpulmonic effusion|m:fluid layering in the pleural space",
             "The {side} costophrenic angle is blunted by fluid.|"
             "Blunting of the {side} costophrenic angle in keeping with an effusion.|"
             "The {side} costophrenic sulcus is obscured by an effusion.|"
             "Fluid is present in the {side} pleural space.|"
             "The {side} pleural space contains fluid.|"
             "A meniscus at the {side} base indicates pleural fluid.",
             "The costophrenic angles are sharp.|The pleural spaces are clear.|"
             "Both costophrenic angles are clear.|The costophrenic sulci are sharp.|"
             "The pleural spaces are dry.|Costophrenic angles are preserved."),
        bank("m:fluid within the pleural cavity|a:pleural fluid collection|m:pleural space fluid|"
             "a:free-flowing pleural effusion",
             "The {side} costophrenic recess is filled with fluid.|"
             "Pleural fluid blunts the {side} costophrenic recess.",
             "The costophrenic recesses are sharp on both sides.|"
             "Neither pleural space holds fluid."),
        size=AMOUNT, side=True, place="at the left base|at the right base|on the left|on the right",
        measure=(8, 45)),
    finding(
        "pneumothorax", CHEST, "pneumothoraces|a pneumothorax|PTX",
        bank("a:pneumothorax|a:pneumothorax|a:pneumothorax|p:pneumothoraces|m:air in the pleural space|"
             "m:pleural air|a:apical pneumothorax|a:tension pneumothorax|m:free pleural air|"
             "a:hydropneumothorax|a:basal pneumothorax|m:air collection in the pleural space",
             "A pleural line with absent lung markings beyond it is seen at the {side} apex.|"
             "The {side} lung is partially collapsed by pleural air.|"
             "Air is present in the {side} pleural space.|"
             "The {side} lung is collapsed due to a pneumothorax.",
             "Both lungs are fully expanded.|The lungs are fully expanded to the chest wall.|"
             "No pleural line is seen.|Lung markings extend to the chest wall."),
        bank("m:air within the pleural cavity|a:apical pleural air collection|m:pleural space air|"
             "a:partial pneumothorax",
             "Pleural air separates the {side} lung from the chest wall.|"
             "The {side} lung edge is displaced by air in the pleural cavity.",
             "The lungs expand fully against the chest wall.|"
             "Neither apex shows a pleural line."),
        size="small|tiny|moderate|large|trace", side=True,
        place="on the left|on the right|at the left apex|at the right apex", measure=(4, 35)),
    finding(
        "pneumonia", CHEST, "consolidation|a pneumonia|lung consolidation|airspace consolidation",
        bank("m:pneumonia|m:pneumonia|m:consolidation|a:focal consolidation|m:airspace consolidation|"
             "a:airspace opacity|p:pneumonic infiltrates|m:lobar pneumonia|a:pneumonic infiltrate|"
             "m:bronchopneumonia|p:consolidations|a:consolidative opacity|p:airspace opacities|"
             "m:patchy consolidation|m:airspace disease|a:infiltrate|m:pneumonic change",
             "The {side} lower lobe is consolidated.|The {side} upper lobe shows dense airspace "
             "opacification with air bronchograms.|Air bronchograms within an opacified {side} lower "
             "lobe indicate pneumonia.|The {side} lung base is consolidated.|"
             "The lingula is consolidated.",
             "The lungs are free of infiltrates.|There is normal aeration without infiltrate.|"
             "The airspaces are clear.|The lung fields show no opacity."),
        bank("p:consolidative opacities|m:pneumonic consolidation|m:consolidative airspace change|"
             "a:pneumonic opacity",
             "Consolidated lung with air bronchograms fills the {side} lower lobe.|"
             "The {side} middle zone shows pneumonic airspace change.",
             "The airspaces on both sides are free of infiltrate.|"
             "Neither lung shows airspace opacification."),
        size="focal|patchy|dense|multifocal|extensive", side=False, place=LUNG_PLACES),
    finding(
        "cardiomegaly", CHEST, "an enlarged heart|enlarged heart|cardiac enlargement",
        bank("m:cardiomegaly|m:cardiomegaly|m:cardiac enlargement|a:enlarged heart|"
             "a:enlarged cardiac silhouette|m:enlargement of the heart|"
             "m:enlargement of the cardiac silhouette|a:increased cardiothoracic ratio|"
             "m:global cardiac enlargement|a:large heart|m:left ventricular enlargement",
             "The heart is enlarged.|The cardiac silhouette is enlarged.|Heart size is increased.|"
             "The heart size is above normal limits.|The cardiac silhouette is mildly enlarged.|"
             "The cardiothoracic ratio is increased at 0.{d}.|Enlarged cardiac silhouette.|"
             "The cardiac contour is enlarged.|The heart is moderately enlarged.|"
             "Heart size is at least mildly increased.|The heart shadow is widened.",
             "The heart is normal in size.|Heart size is normal.|The cardiac silhouette is normal.|"
             "The heart is not enlarged.|The cardiac silhouette is within normal limits.|"
             "Normal heart size.|Cardiac size is within normal limits.|"
             "The cardiomediastinal silhouette is normal.|The cardiothoracic ratio is normal.|"
             "The cardiac contour is normal."),
        bank("m:enlargement of the cardiac shadow|a:enlarged cardiac shadow|m:heart enlargement|"
             "m:enlarged heart size",
             "The size of the heart is above normal.|The cardiac shadow is clearly enlarged.|"
             "Cardiac size is increased.",
             "The size of the heart is normal.|The cardiac shadow is not enlarged.|"
             "Cardiac dimensions are within normal limits."),
        size="mild|moderate|marked|severe|borderline"),
    finding(
        "pulmonary nodule", CHEST, "lung nodule|pulmonary nodules|lung nodules|a pulmonary nodule",
        bank("a:pulmonary nodule|a:pulmonary nodule|a:lung nodule|a:solid nodule|p:lung nodules|"
             "p:pulmonary nodules|a:nodular opacity|a:ground-glass nodule|a:noncalcified nodule|"
             "a:subpleural nodule|a:spiculated nodule|a:part-solid nodule|a:solid pulmonary nodule|"
             "a:calcified lung nodule|p:nodules in the lungs|a:nodular lesion in the lung",
             "A rounded {mm:4-28} mm lesion consistent with a nodule is seen in the {side} upper lobe.|"
             "The {side} upper lobe contains a {mm:4-28} mm nodule.|"
             "{mm:4-28} mm nodule, {side} lower lobe.",
             "The lungs are free of nodules.|No lung mass or nodular lesion.|"
             "The lung parenchyma shows no nodules."),
        bank("a:nodule in the lung|p:nodular pulmonary lesions|a:parenchymal lung nodule|"
             "a:nodular lung lesion",
             "The {side} lower lobe harbours a {mm:4-28} mm solid nodule.|"
             "{mm:4-28} mm nodular focus, {side} upper lobe.",
             "Neither lung contains a nodule.|The lung parenchyma on both sides is without nodules."),
        size="small|solitary|tiny|indeterminate|solid", place=LUNG_PLACES, measure=(3, 29)),
    finding(
        "pulmonary edema", CHEST, "pulmonary oedema|lung edema|edema of the lungs",
        bank("m:pulmonary edema|m:pulmonary edema|m:pulmonary oedema|m:interstitial edema|m:alveolar edema|"
             "m:interstitial pulmonary edema|m:oedema of the lungs|m:cardiogenic pulmonary edema|"
             "m:alveolar pulmonary oedema|m:interstitial oedema|m:edema in both lungs|m:lung oedema|"
             "m:hydrostatic edema",
             "Kerley B lines and perihilar haze indicate interstitial edema.|"
             "The lungs are oedematous.|Bilateral perihilar opacities represent edema.|"
             "The lungs show edematous change.|"
             "Septal thickening and vascular redistribution indicate pulmonary edema.",
             "The pulmonary vasculature is normal.|Pulmonary vascularity is normal.|"
             "The pulmonary vessels are not congested.|Normal pulmonary vascular markings."),
        bank("m:edema of the lung parenchyma|m:cardiogenic lung edema|m:oedematous lung change|"
             "m:edema of both lungs",
             "Perihilar haze with Kerley lines reflects oedema.|"
             "Both lungs appear oedematous.",
             "The pulmonary vascular pattern is normal, arguing against edema.|"
             "The vessels of the lungs are not congested."),
        size="mild|moderate|severe|frank|early|florid"),
    finding(
        "fracture", CHEST, "a fracture|rib fracture|fractures|bone fracture",
        bank("a:fracture|a:rib fracture|p:rib fractures|a:displaced fracture|p:fractures|"
             "a:compression fracture|a:vertebral fracture|a:fractured rib|a:fracture of the clavicle|"
             "a:nondisplaced rib fracture|p:vertebral compression fractures|a:sternal fracture|"
             "a:pelvic fracture|a:osseous fracture|a:broken clavicle|a:acute fracture",
             "The {side} {ord} rib is fractured.|The {side} clavicle is fractured.|"
             "A fracture line runs through the {side} {ord} rib.|The {side} {ord} rib is broken.|"
             "The L1 vertebral body is fractured with loss of height.",
             "The ribs are intact.|The bones are intact.|The visualised bones are intact.|"
             "The osseous structures are intact.|Vertebral body heights are maintained.|"
             "Bony thorax is intact."),
        bank("a:broken rib|a:fractured vertebra|a:rib cage fracture|a:bony fracture",
             "The {side} {ord} rib shows a fracture line.|Broken {side} {ord} rib.",
             "The ribs and vertebrae are intact throughout.|The bony skeleton is intact."),
        size="acute|subacute|displaced|nondisplaced|healing",
        place="of the left fifth rib|of the right seventh rib|on the left|on the right|"
              "of the T12 vertebral body"),
    finding(
        "cirrhosis", ABDOMEN, "liver cirrhosis|cirrhosis of the liver|hepatic cirrhosis|a cirrhotic liver",
        bank("m:cirrhosis|m:cirrhosis|m:cirrhosis|a:cirrhotic liver|p:cirrhotic changes|m:liver cirrhosis|"
             "m:hepatic cirrhosis|p:cirrhotic changes of the liver|a:nodular liver contour|"
             "a:nodular hepatic surface|m:cirrhosis of the liver|p:features of cirrhosis|"
             "m:cirrhotic remodelling|m:cirrhotic liver disease|m:surface nodularity of the liver|"
             "a:shrunken nodular liver|m:cirrhotic transformation of the liver|"
             "p:stigmata of cirrhosis|m:chronic liver disease with cirrhosis",
             "The liver is cirrhotic.|The liver is shrunken with a nodular surface.|"
             "The liver contour is nodular.|The liver has a nodular outline and coarse echotexture.|"
             "The liver is small and nodular with caudate lobe hypertrophy.|"
             "Nodular liver with coarsened texture.|Cirrhotic appearance of the liver.|"
             "The hepatic contour is irregular and nodular, in keeping with cirrhosis.|"
             "The hepatic surface is nodular.",
             "The liver surface is smooth.|The liver contour is smooth.|The liver is not cirrhotic.|"
             "The liver has a smooth outline.|Smooth hepatic contour.|"
             "The liver margin is smooth and regular.|The liver does not appear nodular."),
        bank("m:cirrhotic morphology of the liver|m:cirrhotic hepatic parenchyma|"
             "m:nodularity of the liver surface|m:hepatic cirrhotic change",
             "The liver appears cirrhotic with an irregular nodular margin.|"
             "The surface of the liver is nodular.|The liver shows cirrhotic morphology.",
             "The surface of the liver is smooth.|The liver outline is regular and not nodular.|"
             "The liver does not look cirrhotic."),
        size="advanced|early|established|decompensated|known"),
    finding(
        "ascites", ABDOMEN, "abdominal ascites|free abdominal fluid|ascitic fluid|free fluid",
        bank("m:ascites|m:ascites|m:ascites|m:free fluid in the abdomen|m:intraperitoneal free fluid|"
             "m:ascitic fluid|m:peritoneal fluid|m:perihepatic ascites|m:free abdominal fluid|"
             "m:free fluid|m:free fluid in the pelvis|m:abdominal ascites|m:free peritoneal fluid|"
             "m:fluid around the liver and spleen|m:free pelvic fluid",
             "Free fluid is seen in Morison's pouch.|Fluid surrounds the liver.|"
             "The abdomen contains free fluid.|Fluid is seen in both paracolic gutters.|"
             "Perihepatic and perisplenic fluid is present.|The pelvis contains free fluid.",
             "The peritoneal recesses are dry.|The abdomen is free of fluid.|"
             "Morison's pouch is clear.|The paracolic gutters are dry."),
        bank("m:fluid in the peritoneal cavity|m:abdominal ascitic fluid|m:free intra-abdominal fluid|"
             "m:fluid in the abdominal cavity",
             "Free fluid tracks along the paracolic gutters.|"
             "Fluid is seen around the liver.",
             "The peritoneal cavity is dry.|Neither paracolic gutter holds fluid."),
        size=AMOUNT + "|gross", measure=None),
    finding(
        "splenomegaly", ABDOMEN, "an enlarged spleen|enlarged spleen|splenic enlargement",
        bank("m:splenomegaly|m:splenomegaly|m:enlargement of the spleen|a:enlarged spleen|"
             "m:splenic enlargement|m:massive splenomegaly|a:large spleen|"
             "m:splenomegaly measuring {cm:14.0-19.0} cm",
             "The spleen is enlarged.|The spleen is enlarged, measuring {cm:13.5-19.0} cm.|"
             "The spleen measures {cm:13.5-19.0} cm and is enlarged.|"
             "The spleen is increased in size.|Spleen enlarged at {cm:13.5-19.0} cm.|"
             "Splenic size is increased.|The spleen is mildly enlarged.|"
             "The spleen measures {cm:14.0-19.0} cm in length, above the normal range.",
             "The spleen is normal in size.|The spleen measures {cm:7.5-11.5} cm and is normal.|"
             "The spleen is not enlarged.|Spleen normal at {cm:7.5-11.5} cm.|Normal splenic size.|"
             "Splenic size is within normal limits.|The spleen is of normal size and texture.|"
             "The spleen is unremarkable."),
        bank("m:increase in splenic size|a:abnormally large spleen|m:enlarged splenic size|"
             "m:spleen enlargement",
             "The spleen is abnormally enlarged with a length of {cm:13.5-19.0} cm.|"
             "The size of the spleen is increased.|Enlarged spleen of {cm:13.5-19.0} cm.",
             "The size of the spleen is normal.|The spleen has a normal length of {cm:7.5-11.5} cm.|"
             "The spleen shows no enlargement."),
        size="mild|moderate|marked"),
    finding(
        "hepatic steatosis", ABDOMEN, "fatty liver|steatosis|fatty liver disease|fatty infiltration of the liver",
        bank("m:hepatic steatosis|m:hepatic steatosis|a:fatty liver|m:fatty infiltration of the liver|"
             "m:fatty liver disease|m:diffuse fatty change of the liver|m:steatosis|"
             "m:fat deposition in the liver|m:diffuse hepatic steatosis|m:fatty infiltration|"
             "m:fatty change of the liver|m:liver steatosis|m:fatty hepatic parenchyma",
             "The liver is diffusely echogenic in keeping with fatty infiltration.|"
             "The liver is steatotic.|Liver attenuation is diffusely reduced, consistent with fatty change.|"
             "Increased hepatic echogenicity indicating steatosis.|The liver is fatty.|"
             "The hepatic parenchyma is bright, consistent with fat.",
             "Hepatic echogenicity is normal.|The liver has normal echogenicity.|"
             "Liver attenuation is normal.|The liver is not fatty.|"
             "The liver parenchyma shows normal echotexture."),
        bank("m:steatosis of the liver|m:fatty change in the hepatic parenchyma|"
             "m:hepatic fat infiltration|m:hepatic fatty infiltration",
             "The liver is bright because of fatty change.|"
             "The hepatic parenchyma is diffusely fatty.",
             "The echogenicity of the liver is normal.|The liver shows no fat."),
        size="mild|moderate|severe|diffuse|focal"),
    finding(
        "gallstones", ABDOMEN, "cholelithiasis|gallstone|gallbladder stones|stones in the gallbladder",
        bank("p:gallstones|p:gallstones|m:cholelithiasis|p:calculi in the gallbladder|a:gallbladder stone|"
             "p:gallbladder calculi|p:stones in the gallbladder|a:calcified gallstone|a:gallstone|"
             "m:uncomplicated cholelithiasis|p:mobile gallstones|p:layering gallstones|"
             "m:lithiasis of the gallbladder|p:multiple gallstones",
             "The gallbladder contains several stones.|The gallbladder contains a {mm:4-22} mm stone.|"
             "Multiple shadowing stones are seen in the gallbladder.|"
             "The gallbladder is filled with calculi.|A stone is impacted in the gallbladder neck.|"
             "A {mm:4-22} mm mobile calculus is seen in the gallbladder.",
             "The gallbladder contains no stones.|The gallbladder is free of stones.|"
             "The gallbladder is unremarkable.|The gallbladder is thin-walled and anechoic.|"
             "The gallbladder is normal without calculi."),
        bank("p:stones within the gallbladder lumen|a:calculus in the gallbladder neck|"
             "m:gallbladder lithiasis|p:shadowing gallbladder stones",
             "The gallbladder holds {mm:4-22} mm stones.|"
             "Several calculi lie within the gallbladder.",
             "The gallbladder lumen is free of calculi.|The gallbladder holds no stone."),
        size="small|multiple|large|several|tiny"),
    finding(
        "hydronephrosis", ABDOMEN, "a dilated collecting system|renal hydronephrosis|hydronephrosis of the kidney",
        bank("m:hydronephrosis|m:hydronephrosis|m:dilatation of the collecting system|"
             "m:pelvicalyceal dilatation|m:hydroureteronephrosis|m:dilatation of the renal pelvis|"
             "a:dilated renal pelvis|m:renal collecting system dilatation|m:hydroureter and hydronephrosis|"
             "a:dilated collecting system|m:obstructive hydronephrosis|m:caliectasis|"
             "m:dilation of the renal calyces",
             "The {side} kidney is hydronephrotic.|The {side} renal pelvis is dilated.|"
             "The {side} collecting system is dilated.|The {side} pelvicalyceal system is dilated.|"
             "The {side} renal pelvis measures {mm:14-32} mm and is dilated.|"
             "The {side} kidney shows dilated calyces.",
             "The collecting systems are not dilated.|The renal pelves are not dilated.|"
             "The collecting systems are decompressed.|The kidneys are not obstructed.|"
             "Neither collecting system is dilated."),
        bank("m:dilatation of the pelvicalyceal system|a:dilated renal collecting system|"
             "m:hydronephrotic change of the kidney|m:dilated renal calyces",
             "The {side} kidney has a dilated renal pelvis.|"
             "Hydronephrotic {side} kidney.",
             "Both renal pelves are of normal calibre.|The calyces are not dilated."),
        size="mild|moderate|severe|gross|minimal", side=True, place="on the left|on the right|of the left kidney|"
        "of the right kidney"),
    finding(
        "renal calculus", ABDOMEN, "kidney stone|kidney stones|renal calculi|nephrolithiasis|renal stone",
        bank("a:renal calculus|a:renal calculus|a:kidney stone|p:kidney stones|p:renal calculi|m:nephrolithiasis|"
             "a:renal stone|a:calculus in the kidney|p:stones in the kidney|"
             "a:nonobstructing renal calculus|a:staghorn calculus|p:renal stones|"
             "a:caliceal stone|a:intrarenal calculus|m:urolithiasis|a:calculus in the renal pelvis",
             "The {side} kidney contains a {mm:3-18} mm stone.|"
             "A {mm:3-18} mm calculus is seen in the lower pole of the {side} kidney.|"
             "There is a {mm:3-18} mm stone in the {side} kidney.|"
             "{mm:3-18} mm nonobstructing stone in the {side} kidney.|"
             "The upper pole of the {side} kidney contains a calculus.",
             "The kidneys contain no stones.|The kidneys are free of calculi.|"
             "The kidneys are normal without calculi.|No stone is seen in either kidney."),
        bank("p:intrarenal stones|m:renal lithiasis|a:stone within the kidney|a:kidney calculus",
             "The {side} kidney holds a {mm:3-18} mm calculus.|"
             "{mm:3-18} mm stone lies in the {side} renal pelvis.",
             "Both kidneys are without calculi.|The kidneys hold no stone."),
        size="small|tiny|large|nonobstructing|obstructing", place=KIDNEY_PLACES, measure=(3, 18)),
    finding(
        "aortic aneurysm", ABDOMEN, "an aortic aneurysm|abdominal aortic aneurysm|aneurysm of the aorta|AAA",
        bank("a:aortic aneurysm|a:aortic aneurysm|a:abdominal aortic aneurysm|m:aneurysmal dilatation of the aorta|"
             "a:infrarenal aortic aneurysm|a:aneurysm of the abdominal aorta|a:saccular aortic aneurysm|"
             "m:aneurysmal dilatation of the abdominal aorta|a:AAA|a:fusiform aortic aneurysm|"
             "a:aneurysm of the thoracic aorta|a:thoracic aortic aneurysm",
             "The infrarenal aorta is aneurysmal, measuring {cm:3.6-7.5} cm.|The aorta is aneurysmal.|"
             "The abdominal aorta is dilated to {cm:3.6-7.5} cm, consistent with an aneurysm.|"
             "Aneurysm of the infrarenal aorta measuring {cm:3.6-7.5} cm.",
             "The aorta is of normal calibre.|The abdominal aorta is normal in caliber.|"
             "The aorta is not aneurysmal.|The aorta is not dilated.|"
             "The abdominal aorta measures {cm:1.5-2.4} cm and is normal.|"
             "Normal calibre abdominal aorta."),
        bank("m:aneurysmal enlargement of the aorta|a:fusiform aneurysm of the aorta|"
             "a:aneurysmal aorta|a:infrarenal aneurysm of the aorta",
             "The abdominal aorta is aneurysmal with a diameter of {cm:3.6-7.5} cm.|"
             "Aneurysmal abdominal aorta, {cm:3.6-7.5} cm.",
             "The calibre of the aorta is normal.|"
             "The aorta has a normal diameter of {cm:1.5-2.4} cm."),
        size="large|small|fusiform|unruptured", measure=(36, 75)),
]


def minor(name, region, train, held):
    return finding(name, region, "", bank(train), bank(held))


# Asked for now and then, and used as distractors: several share a word with a finding above.
MINOR_FINDINGS = [
    minor("atelectasis", CHEST, "m:atelectasis|m:subsegmental atelectasis|m:basal atelectasis|"
          "m:volume loss at the left base", "m:plate-like atelectasis|m:atelectatic change"),
    minor("emphysema", CHEST, "m:emphysema|p:emphysematous changes|m:centrilobular emphysema",
          "m:emphysematous lung change"),
    minor("pericardial effusion", CHEST, "a:pericardial effusion|m:pericardial fluid",
          "m:fluid in the pericardial sac"),
    minor("pleural thickening", CHEST, "m:pleural thickening|p:pleural plaques",
          "m:thickening of the pleura"),
    minor("hiatal hernia", CHEST, "a:hiatal hernia|a:hiatus hernia|a:sliding hiatal hernia",
          "a:hernia of the hiatus"),
    minor("lymphadenopathy", CHEST, "m:lymphadenopathy|p:enlarged lymph nodes|m:hilar adenopathy",
          "m:lymph node enlargement"),
    minor("scoliosis", CHEST, "m:scoliosis|m:thoracic scoliosis|p:degenerative changes of the spine",
          "m:scoliotic curvature"),
    minor("thyroid nodule", CHEST, "a:thyroid nodule|a:nodule in the thyroid gland",
          "a:nodular thyroid lesion"),
    minor("adrenal nodule", ABDOMEN, "a:adrenal nodule|a:adrenal adenoma", "a:nodule of the adrenal gland"),
    minor("renal cyst", ABDOMEN, "a:renal cyst|a:simple cyst in the kidney|p:cortical renal cysts",
          "a:cyst of the kidney"),
    minor("hepatic cyst", ABDOMEN, "a:hepatic cyst|a:liver cyst|p:simple hepatic cysts",
          "a:cyst of the liver"),
    minor("liver lesion", ABDOMEN, "a:focal liver lesion|a:hepatic mass|a:hepatic hemangioma",
          "a:mass in the liver"),
    minor("hepatomegaly", ABDOMEN, "m:hepatomegaly|m:enlargement of the liver|a:enlarged liver",
          "m:liver enlargement"),
    minor("diverticulosis", ABDOMEN, "m:diverticulosis|p:sigmoid diverticula|m:colonic diverticulosis",
          "p:diverticula of the colon"),
    minor("appendicitis", ABDOMEN, "m:appendicitis|a:inflamed appendix|m:acute appendicitis",
          "m:inflammation of the appendix"),
    minor("pancreatitis", ABDOMEN, "m:pancreatitis|m:acute pancreatitis|m:peripancreatic stranding",
          "m:inflammation of the pancreas"),
    minor("gallbladder wall thickening", ABDOMEN, "m:gallbladder wall thickening|a:thickened gallbladder wall",
          "m:thickening of the gallbladder wall"),
    minor("biliary dilatation", ABDOMEN, "m:biliary dilatation|m:dilatation of the bile ducts|"
          "a:dilated common bile duct", "m:bile duct dilatation"),
    minor("bowel obstruction", ABDOMEN, "m:bowel obstruction|p:dilated bowel loops", "m:obstructed bowel"),
]
