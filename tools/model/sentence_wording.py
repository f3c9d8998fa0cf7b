"""More sentence frames of the training bank, as small grammars.

[a/b/c] is one of the alternatives (an empty one is allowed) and <name> one of the words of
VOCABULARY; both nest. The slots of sentence_bank.py are filled afterwards. How much English a frame
covers matters more than how natural each sentence is: the model has 3 million parameters, has read
nothing else, and must learn which words turn a statement round and that all others do not.
"""

import re

from findings_bank import words

VOCABULARY = {
    "study": "[the/this/the present/the current/today's] <exam>|[the/this] [limited/portable/follow-up/repeat/"
             "contrast-enhanced/unenhanced/routine/initial/new] <exam>|imaging|[axial/coronal/cross-sectional/"
             "diagnostic/current] imaging|[chest/abdominal/] radiography|sonography|computed tomography|CT|"
             "ultrasound|the imaging study|the acquisition|review of the images|the survey",
    "exam": "examination|exam|study|scan|radiograph|film|investigation|series|sonogram|CT|image|view|"
            "projection|test|imaging",
    "images": "[the/these/current/today's/the available/the axial/the coronal/the submitted/the present/"
              "the frontal/the obtained/all] [images/views/sections/slices/films/radiographs/projections/"
              "pictures/series/sequences]|the imaging findings|the findings|the appearances|both views",
    "show": "show|demonstrate|reveal|display|exhibit|depict|disclose|confirm|indicate|detect|identify|"
            "present|illustrate|manifest|highlight|capture|include|contain|bring out|visualize|expose|"
            "record|report|evidence|establish|prove|evince|portray|point out|pick up|find|note|uncover|"
            "represent|bear out|give|document",
    "seen": "seen|noted|identified|demonstrated|detected|observed|found|appreciated|visualized|recognized|"
            "depicted|displayed|encountered|discerned|confirmed|documented|revealed|shown|picked up|"
            "described|reported|perceived|spotted|disclosed|recorded|encountered|made out|established|"
            "diagnosed|imaged|captured|delineated|outlined|mentioned|visualised|registered|proven",
    "visible": "visible|present|evident|apparent|discernible|detectable|recognizable|perceptible|"
               "identifiable|appreciable|demonstrable|conspicuous|manifest|obvious|noticeable|"
               "in evidence|on view|observable|distinguishable|visualized|traceable|clear|there",
    "clearly": "clearly|readily|well|easily|definitely|plainly|obviously|unequivocally|distinctly|again|"
               "once more|also|further|additionally|incidentally|unmistakably|certainly|evidently|newly|"
               "partly|partially|faintly|best|now|still|indeed|manifestly|convincingly|undoubtedly",
    "tail": "on [this/the present/the current/today's] <exam>|at this time|today|at present|currently|"
            "on [these/the current/the available/the submitted/the present] [images/views/sections/films]|"
            "in this examination|at the time of the <exam>|as of today|on the current imaging|"
            "in this patient|here|now|within the [imaged/scanned/examined/visualized] [volume/region/area/"
            "portion/field]|in the [field of view/imaged portion/scan range/area examined]|presently",
    "notail": "on either side|on any of the [images/views/sections]|at any level|anywhere|at all|bilaterally|"
              "as far as [can be seen/assessable/visible/imaged]|within the limits of the <exam>|"
              "on either view|in any [segment/region/location/plane]|whatsoever|to any degree|"
              "on [this/the] unenhanced <exam>|by [CT/imaging/ultrasound/radiographic] criteria|"
              "in either [plane/projection]|of note|to report|<tail>",
    "adj": "definite|obvious|clear|convincing|overt|gross|visible|discernible|demonstrable|appreciable|"
           "identifiable|recognizable|significant|relevant|acute|new|residual|recurrent|focal|frank|"
           "sizeable|sizable|large|small|discrete|macroscopic|apparent|evident|suspicious|worrisome|"
           "sonographic|radiographic|manifest|measurable|noteworthy|conclusive|current|clinically "
           "significant|clinically relevant|associated|underlying|concomitant|"
           "coexisting|conspicuous|perceptible|observable|distinct|true|actual|unequivocal|obvious acute|"
           "pathological|localized|high-grade|drainable|developing|early|complicating|superimposed",
    "evidence": "evidence|sign|indication|suggestion|feature|manifestation|finding|hint|proof|suspicion|"
                "radiographic evidence|sonographic evidence|imaging evidence|CT evidence|imaging sign|"
                "radiological sign|direct sign|indirect sign|signs|features|findings|appearance|"
                "stigmata|vestige|semblance|presence|development|hallmark|symptom|pattern",
    "poss": "possible|probable|likely|suspected|presumed|presumptive|questionable|apparent|potential|"
            "conceivable|equivocal|suspicious|borderline|tentative|putative|plausible|early|subtle|"
            "very likely|most likely|quite possible|highly likely|highly probable|highly suspected",
    "hedge": "probably|likely|possibly|presumably|most likely|very likely|perhaps|conceivably|apparently|"
             "potentially|arguably|quite possibly|supposedly|seemingly|maybe|almost certainly|"
             "in all probability|most probably|quite likely|doubtless",
    "suggest": "suggest|favor|favour|support|raise suspicion of|raise concern for|raise the possibility of|"
               "raise the question of|are in favour of|speak for|speak in favour of|argue for|are typical of|"
               "are characteristic of|are compatible with|are consistent with|are in keeping with|"
               "are in line with|are in accordance with|are suggestive of|are suspicious for|"
               "are worrisome for|are concerning for|are highly suspicious for|correspond to|imply|"
               "agree with|match|are best explained by|are explained by|are attributable to|reflect|"
               "would be in keeping with|would be compatible with|would support|may indicate|might indicate|"
               "may reflect|could reflect|could be due to|may be due to|might represent|would go with|"
               "are probably related to|hint at|lead to the diagnosis of|tend towards|are diagnostic of|"
               "are indicative of|fit with|are pathognomonic for|meet criteria for|resemble|signify",
    "sign": "[the/these/such/overall] [findings/appearances/changes/features/signs/images/characteristics/"
            "abnormalities/alterations/imaging features/imaging appearances/imaging findings]|findings|"
            "appearances|features|changes|the radiographic findings|the sonographic features",
    "degree": "slightly|mildly|markedly|clearly|significantly|minimally|somewhat|considerably|moderately|"
              "substantially|partially|partly|only slightly|a little|noticeably|visibly|modestly|greatly",
    "sig": "significant|relevant|substantial|appreciable|major|definite|interval|notable|essential|real|"
           "important|marked|obvious|detectable|apparent|discernible|visible|clinically relevant|convincing|",
    "since": "since {when}|compared with {when}|compared to {when}|from {when}|in comparison with {when}|"
             "as compared with {when}|relative to {when}|versus {when}|when compared to {when}|"
             "with respect to {when}|in the interval|over the interval|in the interim|since then|"
             "since the last <exam>|compared to prior|on comparison with {when}|against {when}|since before",
    "grown": "increased|enlarged|worsened|progressed|become larger|become more extensive|advanced|"
             "decreased|improved|diminished|reduced|lessened|regressed|become smaller|shrunk|declined|"
             "changed|evolved|gone up in size|gone down in size|deteriorated|extended|receded|expanded",
    "same": "unchanged|stable|the same|similar|static|constant|essentially unchanged|largely unchanged|"
            "grossly unchanged|essentially stable|not significantly changed|unaltered|as before|"
            "as previously|virtually unchanged|comparable|persistent|smaller|larger|better|worse|"
            "more extensive|less extensive|more prominent|less prominent|more pronounced|less pronounced|"
            "improved|increased|decreased|reduced|progressive|regressing|without change|in regression|"
            "slightly smaller|slightly larger|slightly better|slightly worse|equal in size",
    "again": "again|still|once again|once more|as before|continues to be|as previously",
    "stable": "stable|unchanged|persistent|persisting|residual|chronic|worsening|improving|increasing|"
              "decreasing|progressive|enlarging|known|old|long-standing|longstanding|pre-existing|static|"
              "recurrent|resolving|ongoing|continuing|remaining|new|newly developed|slowly improving|"
              "diminishing|regressing|evolving|growing|shrinking|incompletely resolved|re-demonstrated",
    "gone": "resolved|disappeared|cleared|vanished|subsided|completely resolved|fully resolved|"
            "completely disappeared|completely cleared|fully cleared|gone|regressed completely|"
            "resolved completely|resolved fully|resolved entirely|cleared up|cleared completely|gone away|"
            "healed|healed completely|been absorbed|been resorbed|dissolved|entirely resolved|"
            "been treated successfully|normalized|abated|receded entirely|totally resolved|dissipated",
    "former": "previous|prior|previously seen|previously noted|previously described|previously reported|"
              "formerly seen|earlier|initial|old|known|recent|former|previously documented|past|"
              "previously identified|preexisting|once visible|original|previously visible|historic|"
              "formerly described|initially seen|last described",
    "resolution": "resolution|clearing|disappearance|regression to nothing|complete resolution|"
                  "full resolution|complete clearing|complete disappearance|total resolution|"
                  "interval resolution|interval clearing|full clearance|complete regression|healing",
    "but": "but|however,|though|yet|although|while|whereas|nevertheless|with|and|only",
    "title": "Impression|Summary|Conclusion|Diagnosis|Result|Assessment|Opinion|Note|Comment|Interpretation|"
             "Remark|Other|Additional findings|Main finding|Addendum|Overall",
    "nodoubt": "no doubt about|no question of|little doubt about",
    "cover": "The observer {wug}s|One {wug}s|Radiologists would {wug}|The reader {wug}s",
}

TRAIN_MORE = {
    "present": words(
        "{Anp}{loc} [/<clearly>] {is} <seen>[/ <tail>].|{Anp}{loc} {is} [/<clearly> ]<seen>[/ <tail>].|"
        "{Anp}{loc} {is} [/<clearly> ]<visible>[/ <tail>].|{Anp}{loc} can [/<clearly> ]be <seen>[/ <tail>].|"
        "{Anp}{loc} {has} been <seen>.|{Anp}{loc} {was} <seen>[/ <tail>].|{Np}{loc}[/ <tail>].|{Np}{loc}[/ <clearly>] <seen>.|"
        "There {is} [/<clearly> ]{anp}{loc}[/ <tail>].|There [appears to be/seems to be/is felt to be/exists/"
        "has been/continues to be/remains/is once more/is now] {anp}{loc}.|<study> [/<clearly> ]<show>s {anp}{loc}.|"
        "<images> [/<clearly> ]<show> {anp}{loc}.|<study> <show>s [the presence of/evidence of/signs of/"
        "features of/findings of/an appearance of/changes of/a picture of/development of] {np}{loc}.|"
        "[Evidence/Signs/Features/Presence/Findings/Appearances/Picture/Stigmata/Changes/Development/"
        "Demonstration/Depiction/Detection/Visualization/Identification] of [/<stable> ]{np}{loc}.|"
        "[The presence of/Evidence of/Signs of/The appearance of] {np}{loc} [is/is again/is clearly] <seen>.|"
        "<study> is [positive for/diagnostic of/abnormal with/notable for/remarkable for/significant for/"
        "consistent with/compatible with/characterized by/abnormal because of] {np}{loc}.|"
        "[Positive for/Notable for/Remarkable for/Significant for/Diagnostic of/Consistent with/In keeping with/"
        "Compatible with/Indicative of/Typical of/Characteristic of] {np}{loc}.|<title>: {np}{loc}.|<title>: {anp}{loc}.|"
        "<title>: [stable/new/known/mild/acute/chronic/likely/probable/persistent/extensive] {np}.|"
        "[We/I] [see/find/note/observe/identify/recognize/detect/appreciate/describe/diagnose/report/"
        "encounter/confirm] {anp}{loc}.|The patient [has/is found to have/does have/shows/presents with/demonstrates/"
        "has developed/suffers from/is known to have] {anp}{loc}.|"
        "Note [is made/is again made/should be made] of {anp}{loc}.|[Noted is/Seen is/Identified is/Of note is/"
        "Also seen is/Also noted is/Worth mentioning is/Again noted is/Most notable is/Additionally noted is/"
        "Incidentally noted is/Now visible is/Striking is/Depicted is] {anp}{loc}.|"
        "[Also/Additionally/Moreover/Furthermore/Besides/Incidentally/Again/As before/In addition/Unfortunately/"
        "Interestingly/However/Nevertheless/Secondly/Finally/Lastly], {anp}{loc} {is} <seen>.|"
        "[In the interval/Since {when}/Meanwhile/Now/Today/Newly/Interval/In the meantime], {anp}{loc} {has} "
        "[developed/appeared/arisen/formed/occurred/emerged/evolved/become visible/become apparent].|"
        "[Interval/New/Recent/Subsequent] [development/appearance/occurrence/emergence/onset] of {anp}{loc}.|"
        "[Typical/Classic/Characteristic/Classical/Unequivocal/Definite/Clear/Convincing/Marked/Obvious/Overt/"
        "Subtle/Sonographic/Radiographic] [appearance/evidence/signs/features/picture/findings/example/"
        "manifestation/pattern/image] of {np}{loc}.|"
        "<sign> [are those of/represent/indicate/constitute/amount to/confirm/establish/are due to/are caused by/"
        "define/prove/equal/mean/result from] {np}{loc}.|[This/It/Which] [is/represents/indicates/constitutes/means/confirms/"
        "corresponds to/reflects/is due to/results from/signifies/amounts to] {anp}{loc}.|{Np}{loc} [/is ][as described/as above/as mentioned/"
        "as discussed/as noted/as before/as known/as expected/as detailed above/as stated].|"
        "{Np}{loc}, [otherwise normal/otherwise unremarkable/see above/as described/unspecified/as mentioned/"
        "the largest of these/incidental/chronic/clinical correlation advised/correlate clinically/acute/new].|"
        "[The main/The only/The principal/The dominant/The most important/The most striking/The key/Another/"
        "A further/An additional/A second/One] [abnormality/finding/observation/pathology/feature/problem/result/diagnosis] [is/remains/would be] {anp}{loc}.|"
        "{Anp}{loc} [is/constitutes/represents] [the main/the only/an additional/the most striking/a further/"
        "the dominant/an incidental] [finding/abnormality/feature/diagnosis].|"
        "[Small/Mild/Moderate/Minimal/Slight/Subtle/Marked/Extensive/Considerable/Trace/Severe/Large/Minor/"
        "Pronounced/Prominent/Low-grade/High-grade/Grade II/Some/A degree of/A small amount of] {nn}{loc}.|"
        "There is [/some/mild/slight/at least mild/at most mild/a degree of/an element of/a component of] {nn}{loc}.|"
        "[Redemonstration/Visualization/Reappearance/Persistence/Recurrence/Demonstration] of {np}{loc}.|"
        "[Incidental/Coexisting/Concomitant/Associated/Coincidental/Underlying/Superimposed/Isolated/Bilateral/"
        "Additional] {np}{loc}[/ <tail>].|{Anp}{loc} {is} [the cause of the symptoms/responsible for the symptoms/"
        "explaining the pain/requiring follow-up/of clinical relevance/of note/to be noted/worth noting].|"
        "[Because of/In view of/Given/Due to/Owing to] {anp}{loc}, [follow-up/clinical correlation/further imaging/"
        "treatment/referral/drainage/a CT] is [advised/recommended/suggested].|"
        "[Recommend follow-up of/Follow-up recommended for/Correlate clinically for/Findings include/Findings of/"
        "Changes of/Appearances of/A case of/Status:/Diagnosis of/Abnormal study with/Abnormal <exam>:] {np}{loc}.|"
        "{Anp}{loc} {wugs} [the/a] {wug}.|{Anp}{loc} {is} {wug}ly {wug}ed.|<study> {wug}s {anp}{loc}.|"
        "<images> {wug} {anp}{loc}.|{Wug} {wug}ed {anp}{loc} [with/from/by/into/upon] {wug}.|<cover> {anp}{loc}.|"
        "{Anp}{loc} <visible> {wug}.|{Np}, {wug}.|{Np} {is} {wug} <tail>."),
    "measured": words(
        "{Anp}{loc} [measuring/of/sized/up to/approximately/about/with a size of/with a width of/with a "
        "diameter of/with a length of/estimated at/calculated at] {size}[/ is <seen>/ is <visible>].|"
        "{Anp}{loc} {is} <seen>, [measuring/of/up to/about/approximately/maximum/now] {size}.|"
        "{Np}{loc} [measures/reaches/extends over/has a diameter of/has a size of/amounts to/is/covers/attains] "
        "[/about /up to /approximately /at most ]{size}.|{Np}{loc} ({size}).|{Np}{loc}: {size}.|"
        "{Size} [/large /small /wide /long ]{nn}{loc}.|There {is} {anp}{loc} [of/measuring/up to/sized/with "
        "diameter] {size}.|[Width/Size/Maximum diameter/Diameter/Depth/Largest dimension/Extent] of the {np}{loc}"
        "[/:/ is/ measures] {size}.|<study> <show>s {anp}{loc} [of/measuring] {size}.|"
        "{Np}{loc} [now/currently/previously {size}, now] {size}.|{Anp}{loc} with {wug} of {size}."),
    "changed": words(
        "The [/known /previously noted /previously described ]{np}{loc} {has} [/<degree> ]<grown>[/ <since>].|"
        "The {np}{loc} {is} <same>[/ <since>].|The {np}{loc} [remains/appears/looks/seems/is felt to be/has remained/"
        "stays/continues] <same>[/ <since>].|<stable> {np}{loc}[/ <since>].|[Interval/Slight/Mild/Further/"
        "Continued/Marked/Partial/Moderate/Significant/Some/Minimal/Clear] [increase/decrease/improvement/"
        "worsening/enlargement/progression/reduction/growth/regression/deterioration/change/diminution/"
        "evolution] [of/in] the [/size of the /extent of the ]{np}{loc}[/ <since>].|"
        "[No/There is no/There has been no/Without/There was no/We see no] <sig> [change/progression/"
        "increase/decrease/improvement/alteration/worsening/growth/difference/interval change/development/regression] "
        "[of/in/regarding/concerning/with regard to/as to] the [/known ]{np}{loc}[/ <since>].|"
        "The {np}{loc} {has} not [/<degree> ][changed/resolved/improved/progressed/cleared/decreased/increased/"
        "disappeared/healed/regressed/worsened/grown/subsided/been removed][/ <since>].|"
        "[Compared with/Compared to/In comparison with/As compared with/Since] {when}, the {np}{loc} "
        "[/{has} <grown>/{is} <same>/remains <same>/{has} <degree> <grown>].|"
        "{Np}{loc} {is} [again/still/once more/once again/also again] <seen>[/, <same>].|"
        "{Np}{loc} {is} <again> <visible>.|[Re-demonstrated/Again seen/Still seen/Again noted/Persisting/Still "
        "present/Again demonstrated/Still visible/Redemonstrated] {is} {anp}{loc}[/, <same>].|"
        "The {np}{loc} [persists/remains/continues/endures/is still there/is ongoing/lingers][/, although <same>/ <since>/ but is <same>].|"
        "{Np}{loc}, [previously {size}, now smaller/<same>/<same> <since>/with <degree> <same> extent/known/long known].|"
        "[Partial/Incomplete/Near-complete/Ongoing/Slow/Gradual/Beginning/Only partial] "
        "[resolution/clearing/regression/improvement/recovery/healing] of the {np}{loc}[/ <since>].|"
        "The {np}{loc} {has} [not completely/not fully/not yet/only partially/incompletely/only partly/almost/nearly] "
        "[resolved/cleared/disappeared/regressed/healed/subsided].|The {np}{loc} {is} [not completely/not fully/not yet/only partially/"
        "incompletely] [resolved/cleared/gone/healed].|"
        "[Comparison with/Compared with] {when} [shows/reveals] [/a ]<same> {np}{loc}.|"
        "The {np}{loc} [is still/is again/remains] [visible/present/seen/there/evident/appreciable/detectable][/, <degree> <same>].|"
        "The {np} {wugs} <since>.|The {np} {is} {wug} <since>.|Still {wug} {np}{loc}.|The {np}{loc} {has} {wug}ed <since>."),
    "suspected": words(
        "<poss> {np}{loc}.|<poss> {np}{loc} <tail>.|<hedge> {anp}{loc}.|<hedge> {np}{loc} [is present/is there].|There {is} <hedge> {anp}{loc}.|"
        "<sign> <suggest> {np}{loc}.|<sign> <suggest> {anp}{loc}.|<sign> [/are ]<hedge> <suggest> {np}.|"
        "[This/It/The appearance/The picture/The pattern/The constellation/The combination of findings/"
        "The overall picture/The overall impression/The finding] [suggests/favors/supports/raises suspicion for/"
        "raises concern for/raises the possibility of/argues for/is consistent with/is compatible with/"
        "is in keeping with/is suggestive of/is suspicious for/is worrisome for/is concerning for/implies/"
        "could represent/may represent/might represent/may reflect/probably represents/most likely reflects/"
        "likely reflects/would be consistent with/is typical for/could indicate/might be due to/is probably/"
        "is most likely/is likely/is possibly/is thought to be/is believed to be/is felt to represent/"
        "is presumed to be/is best explained by/is likely due to/seems to be/appears to be/looks like/is "
        "interpreted as/speaks for/must be] {anp}{loc}.|"
        "{Np}{loc} {is} [/very /quite /rather /highly /most ][likely/probable/possible/suspected/presumed/"
        "plausible/conceivable/suggested/favored/favoured/thought likely/considered likely/considered probable/"
        "assumed/a possibility/a consideration/the most likely diagnosis/the leading consideration/"
        "the likely cause/to be suspected/to be considered/to be assumed/the probable explanation].|"
        "{Np}{loc} [should be considered/must be considered/has to be considered/should be suspected/may be "
        "present/might be present/could be present/may well be present/is probably present/is likely present/"
        "appears likely/seems likely/seems probable/appears to be present/seems to be present/has to be assumed].|"
        "There [may/might/could/must] [/well /also ]be {anp}{loc}.|There [is/remains/was] [/a /some /strong /high /moderate /considerable "
        "/clear ]suspicion [of/for/regarding] {np}{loc}.|[High/Strong/Moderate/Considerable/Reasonable/Some/"
        "Radiological/Clear/Justified] [suspicion/probability/likelihood/concern/index of suspicion] [of/for] {np}{loc}.|"
        "[Suspicious/Concerning/Worrisome/Suggestive/Highly suspicious/Highly suggestive/Very suspicious/"
        "Compatible/Consistent/In keeping/Probably consistent] [for/of/with] {np}{loc}.|"
        "[Changes/Features/Opacities/Findings/Signs/Appearances/Abnormality] [likely/probably/possibly/presumably/"
        "most likely/perhaps/suspiciously] [representing/reflecting/due to/from/related to/indicating/in keeping with/"
        "consistent with/caused by/secondary to/on the basis of] {np}{loc}.|"
        "[Differential includes/The differential diagnosis includes/Differential diagnosis:/Consider/DD:/"
        "Cannot distinguish from/Query/Question of/Impression:/First consideration:/Leading diagnosis:] [/possible /probable "
        "/likely ]{np}{loc}.|[We suspect/I suspect/We favor/We favour/We presume/One would suspect/We assume/"
        "We consider/I would favor/We believe there is/One may suspect/We think there is/One must assume] {anp}{loc}.|{Anp}{loc} {is} <hedge> "
        "[present/there/developing/responsible/causative/the cause].|{Np}{loc} [cannot be denied/seems certain/is almost certain/"
        "is virtually certain].|"
        "<sign> {wug} {np}{loc}.|This {wugs} {anp}{loc}.|<hedge> {wug} {np}{loc}.|{Np}{loc} {is} {wug}ly likely."),
    "absent": words(
        "No [/<adj> ]{nn}[/ <notail>].|No [/<adj> ]{nn} {is} [/<clearly> ]<seen>[/ <notail>].|No [/<adj> ]{nn} {is} <visible>[/ <notail>].|"
        "There {is} no [/<adj> ]{nn}[/ <notail>].|No [/<adj> ]<evidence> of [/<adj> ]{nn}[/ <notail>].|"
        "There {is_sg} no [/<adj> ]<evidence> of {nn}[/ <notail>].|No [/<adj> ]{nn} [can be/could be/was/has been/have been] "
        "<seen>[/ <notail>].|{Nn} {is} not [/<clearly> ]<seen>[/ <notail>].|{Nn} {is} not [/<clearly> ]<visible>[/ <notail>].|"
        "{Nn} [cannot/can not/could not/can't] be <seen>[/ <notail>].|{Nn} [isn't/wasn't/was not/were not/has not been/have not been/"
        "is no longer to be/is neither suspected nor] <seen>.|"
        "<study> <show>s no [/<adj> ]{nn}.|<images> <show> no [/<adj> ]{nn}.|<study> [does not/did not/fails to/failed to/"
        "doesn't] <show> [/any ][/<evidence> of ]{nn}.|<images> [do not/did not/fail to/don't] <show> [/any ][/<evidence> of ]{nn}.|"
        "<study> is [negative/free/clear/unremarkable] [for/of/regarding/with regard to/as to] {nn}.|"
        "[Negative/Free/Clear/Devoid] [for/of] [/any ]{nn}[/ <notail>].|[Absence/Lack/Exclusion/Non-visualization/"
        "Nonvisualization] of [/any ][/<adj> ]{nn}[/ <notail>].|"
        "{Nn} [is/are/was/has been/can be/could be/may be] [/reliably /safely /definitely /confidently /effectively "
        "/now /therefore ][excluded/ruled out/discounted/dismissed/refuted/discarded/disproved][/ <notail>].|"
        "{Nn} {is} [absent/lacking/missing/not there/nowhere seen/nowhere visible/not a feature/not in evidence/"
        "not a concern/not an issue/not suspected/not part of the picture/neither seen nor suspected][/ <notail>].|"
        "{Nn} {does} not [exist/appear to be present/seem to be present/occur].|"
        "[We/I] [do not see/did not see/see no/find no/found no/detect no/cannot see/cannot identify/could not find/"
        "do not find/did not find/fail to see/identified no/observe no/could not identify/could not detect/do not "
        "identify/do not recognize/cannot demonstrate/were unable to find/recognize no/noted no] [/any /<adj> /<evidence> of ]{nn}.|"
        "[Nothing/There is nothing/Nothing here/We see nothing/I see nothing/There was nothing] [to suggest/to indicate/suggesting/"
        "indicating/to support/in favour of/pointing to/in keeping with/to point towards/speaking for/that "
        "would suggest/to imply/that suggests/typical of/compatible with/to raise suspicion of/resembling] {nn}.|"
        "[Without/Lacks/Lacking/Nil/Not showing/Not any/Never any/Zero/Devoid of] [/any /<adj> /<evidence> of ]{nn}[/ <notail>].|"
        "{Nn}: [no/none/absent/negative/not seen/nil/not present/not identified/not detected/excluded/none seen/"
        "not visible/ruled out/not found/none found/not evident/none identified/-].|[No/Absent/Negative/None/Excluded]: {nn}.|"
        "The patient [does not have/has no/shows no/is free of/is without/did not develop/has not developed/"
        "never had/doesn't have/is not found to have] {anp0}.|[Not/It is not/This is not/These are not/This does not represent/"
        "This is unlikely to be/Findings do not represent/These do not indicate/This does not suggest/This should "
        "not be mistaken for/Not consistent with/Not suggestive of/Not suspicious for/Findings are not those of/"
        "This is inconsistent with/Appearances are not those of/This argues against/Findings argue against/"
        "Appearances speak against/Findings are against/Evidence against/This excludes/This rules out/"
        "This is incompatible with/Findings do not support/Findings do not favor/Features are not typical of] {anp0}.|"
        "[Neither/There is neither] {anp0} nor [any other abnormality/any complication/other pathology/a mass/collection] [is seen/is "
        "identified/is present/was found/].|[Any/An] {nn} [is/can be/was] [excluded/ruled out/not seen/not identified].|"
        "[There are/There were] no [findings/signs/features/changes/images/indications/appearances/abnormalities/imaging findings/"
        "symptoms/stigmata] [of/to suggest/suggesting/suggestive of/consistent with/typical of/indicating/indicative of/suspicious for/"
        "in keeping with/compatible with/pointing to] {nn}[/ <notail>].|[No findings/No signs/No features/No changes/No abnormality/No lesion/"
        "No appearance/No imaging findings/No pattern] [of/to suggest/suggesting/suggestive of/consistent with/typical of/indicating/"
        "indicative of/suspicious for/in keeping with/compatible with/concerning for/diagnostic of/characteristic of] {nn}[/ <notail>].|"
        "[Fortunately/Again/However/Additionally/Specifically/In particular/Currently/Today/Importantly/As before/Otherwise/"
        "Notably/Furthermore/Of note/At present/On the whole/Overall], [no/there is no/there are no] [/<adj> /<evidence> of ]{nn}[/ <seen>].|"
        "[As before/As previously/Still/Again/Once again/Unchanged], no {nn}.|"
        "[Specifically/In particular], {nn} {is} [absent/excluded/not seen/ruled out].|"
        "{Nn} [has/have] [not occurred/not developed/not appeared/not arisen/not formed/not been found/never been seen/not recurred].|"
        "The [presence/existence/possibility/diagnosis/development] of {nn} [is/can be/was/has been] "
        "[excluded/ruled out/not confirmed/denied/refuted/rejected].|[The/A/Any] [suspicion/suspected diagnosis/question/clinical question/concern] of {nn} "
        "[is not confirmed/cannot be confirmed/could not be confirmed/is not supported/is refuted/is dismissed/was not borne out/is unfounded/is answered in the negative].|"
        "<study>: [no/negative for/without] {nn}.|<title>: no [/<adj> /<evidence> of ]{nn}.|<title>: {nn} [excluded/not seen/absent/ruled out].|"
        "No {nn} to {wug}.|No {wug} {wug} of {nn}.|{Nn} {is} neither {wug}ed nor <seen>.|<study> {wug}s no {nn}.|<images> {wug} no {wug} {nn}.|"
        "Nothing {wug} of {nn}.|{Wug} lack of {nn}.|No {nn} {wug} <notail>.|Without {wug} {nn}.|{Nn} {wug}ly excluded.|"
        "{Nn} could not be {wug}ed.|{Nn} {is} not {wug}.|There {is} no {nn} {wug}ing the {wug}.|"
        "<study> does not {wug} {nn}.|<study> does not {wug} any {wug} {nn}.|{Wug} free of {nn}.|Not a {wug} of {nn}."),
    "absent_many": words(
        "No [/<adj> /<evidence> of ]{n1}[/,] [or/nor/and no/and/or of] {n2}[/ <notail>].|No [/<adj> /<evidence> of ]{n1}, {n2}[/,] [or/nor/and/and no] {n3}[/ <notail>].|"
        "There is no [/<adj> /<evidence> of ]{n1}[/,] [or/nor/and no] {n2}[/ <notail>].|There are no {n1}, {n2} [or/nor] {n3}.|"
        "<study> <show>s no {n1} [or/nor/and no] {n2}.|<images> <show> no {n1}, {n2} or {n3}.|<images> [do not/fail to] <show> {n1} [or/nor] {n2}.|"
        "<study> [does not/fails to] <show> [/any ]{n1}, {n2}, or {n3}.|Neither {n1} nor {n2} [is/are/was/can be/could be/were/has been] <seen>.|"
        "[Neither/There is neither] {n1}, {n2} nor {n3}[/ is <seen>/ is <visible>].|{N1} and {n2} [are/were/can be/have been/both] "
        "[absent/excluded/ruled out/not seen/not identified/not present/not found/not demonstrated].|"
        "{N1} or {n2} [is/are/was] not <seen>.|{N1}, {n2} or {n3} [is/are] not <visible>.|[We/I] [see no/find no/identify no/do not see] {n1} or {n2}.|"
        "[Negative/Free/Clear] [for/of] {n1}, {n2} [and/or] {n3}.|[Absence/Lack/Exclusion] of {n1}, {n2} and {n3}.|"
        "[Without/Lacking] [/evidence of /signs of ]{n1}, {n2} [and/or] {n3}.|{N1}, {n2}: [none/absent/negative/no/not seen].|"
        "No {n1}; no {n2}; no {n3}.|No {n1}. No {n2}. No {n3}.|No {n1}. {N2} {is2} [absent/not seen/excluded/not identified].|"
        "The patient has [neither {n1} nor {n2}/no {n1} or {n2}].|Nothing to suggest {n1} or {n2}.|"
        "No {n1}, {wug} or {n2}.|Neither {wug} nor {n1} nor {n2}.|No {n1} and no {n2} {wug}ed.|<study> {wug}s neither {n1} nor {n2}."),
    "mixed": words(
        "{Anp}{loc} {is} <seen>[,/ but/ with/;/, yet/ and/ though/, while] no [/<evidence> of /<adj> ]{n1}[/ is <seen>/].|"
        "{Anp}{loc} {is} <visible> without [/any /<evidence> of ]{n1}.|{Np}{loc}[,/;/ but/ with/ and] no [/<adj> /<evidence> of ]{n1}.|"
        "{Np}{loc}. No {n1}.|{Np}{loc}, {n1} [absent/not seen/excluded/ruled out].|No [/<adj> /<evidence> of ]{n1}[, but/. However,/; however,/, though/. But/; instead,/, only] "
        "{anp}{loc} {is} <seen>.|No {n1}[, but/, only/;/. Instead,/. There is/, merely/, rather] {anp}{loc}.|Apart from {anp}{loc}, [there is no {n1}/no {n1} is <seen>/{n1} is excluded].|"
        "[Although/While/Whereas/Though] [there is no {n1}/{n1} is absent/no {n1} is <seen>/{n1} is excluded], {anp}{loc} {is} <seen>.|"
        "[Although/While/Whereas/Though] {anp}{loc} {is} <visible>, [there is no {n1}/{n1} is absent/no {n1} is <seen>].|"
        "{N1} {is1} [absent/excluded/not seen/ruled out/not present], [but/however/yet] {anp}{loc} {is} <seen>.|"
        "<study> <show>s {anp}{loc} [but no/without/and no/with no/but neither {n2} nor] {n1}.|"
        "<study> <show>s no {n1} [but/but does show/but there is/yet shows] {anp}{loc}.|"
        "{Np}{loc} [without/and neither {n2} nor/with no/but no] [/associated /accompanying /concomitant /additional /complicating ]{n1}.|"
        "{Np}{loc} {is} [seen/noted], {n1} {is1} not.|[Besides/Other than/Except for/With the exception of/In addition to] {anp}{loc}, no {n1} or {n2}.|"
        "{Np}, but [not/neither {n2} nor] {n1}.|[Likely/Probable/Stable/Possible] {np}{loc}, no {n1}.|No {n1}. [Likely/Probable/Stable/Known] {np}{loc}.|"
        "[Findings suggest/Findings are consistent with/Suspected] {np}{loc} rather than {n1}, which is excluded.|"
        "{Np}{loc} {wug} no {n1}.|{Anp}{loc} {wugs} without {n1}.|No {n1} {wug}, {anp}{loc} {wugs}."),
    "present_many": words(
        "{Anp}{loc} [and/as well as/along with/together with/plus/in addition to/combined with/alongside] {q1} [are/is/were] <seen>.|"
        "{Np}{loc} [and/with/plus/as well as/together with/along with/combined with/accompanied by/associated with/"
        "in combination with/in conjunction with/in the setting of/on a background of/in the presence of/complicated by/,/;/.] {q1}.|"
        "There {is} {anp}{loc}[, and/ and also/ as well as/ with/, with/. There is also/, together with/. In addition,] {q1}.|"
        "<study> <show>s {anp}{loc} [and/as well as/with/along with/plus] {q1}.|<images> <show> [both/] {anp}{loc} and {q1}.|"
        "Both {np}{loc} and {q1} are [seen/present/evident/noted/demonstrated].|[Not only/] {anp} [but also/and] {q1} [are/is] <seen>.|"
        "<sign> <suggest> {np} [and/with/plus] {q1}.|[Signs/Evidence/Features] of {np} and {q1}.|{Np}{loc}; also {q1}.|"
        "{Np}{loc} {wug} {q1}.|{Np}{loc} {is} {wug}ed, as {is} {q1}."),
    "not_excluded": words(
        "{Np}{loc} [cannot/can not/can't/could not/may not] be [/entirely /completely /fully /definitely /confidently /reliably /safely "
        "/definitively ][excluded/ruled out/dismissed/discounted][/ <tail>].|[Cannot/Can't/We cannot/One cannot/I cannot/"
        "Unable to/We are unable to/Not possible to/It is not possible to/It is impossible to/It is difficult to/Difficult to/Hard to/Impossible to] [/entirely /completely "
        "/fully /reliably /safely /confidently ][exclude/rule out/dismiss/discount] [/an underlying /an early /a small /a subtle /superimposed /"
        "additional /coexisting ]{nn}.|{Np}{loc} {is} [/considered /thought /felt /deemed /judged /rather /very /quite /highly /most /"
        "regarded as /therefore /though ][unlikely/improbable/doubtful][/ <tail>].|[Unlikely/Improbable/Doubtful/Very unlikely/Highly unlikely/Most unlikely] {np}.|"
        "[Low/Little/Minimal/Very low/Only low/Slight/No strong/No high] [suspicion/probability/likelihood/concern/index of suspicion] [of/for] {np}{loc}.|"
        "{Np}{loc} {is} not [/entirely /completely /fully /definitely /reliably /safely ][excluded/ruled out].|{Np}{loc} [seems/appears/remains/looks] [/very /rather /highly ][unlikely/improbable/doubtful].|"
        "[An/A] [underlying/early/small/subtle/superimposed/tiny/developing/minimal/occult/hidden/additional] {nn} [cannot be/is not/could not be/can't be] [excluded/ruled out].|"
        "[There is/There remains/We have] [little/low/only little/scant/minimal/not much] [suspicion of/reason to suspect/evidence for/to suggest/concern for/support for/likelihood of] {np}.|"
        "[The likelihood/The probability/The chance/The possibility] of {np} is [low/very low/small/minimal/remote/slim/negligible].|"
        "{Np} [is difficult to/is hard to/is impossible to] [exclude/rule out].|[Superimposed/Underlying/Early/Additional/Occult] {nn} not [excluded/ruled out].|"
        "{Np} {is} less likely.|{Np} {is} not [very /particularly /at all /][likely/probable/suspected].|{Np} [would be/would seem] [unlikely/unusual/improbable/atypical].|"
        "[Limited/Poor/Suboptimal] [evaluation/assessment/visualization/study]; {np} [cannot be/not] excluded.|"
        "{Np} [may be missed/could be missed/could be overlooked] [on this study/with this technique/at this stage].|"
        "{Np} {is} {wug}ly unlikely.|{Np} cannot {wug} be excluded.|{Wug} unlikely {np}.|One {wugs} to exclude {np}."),
    "resolved": words(
        "The <former> {np}{loc} {has} [/now /since /meanwhile /in the meantime ]<gone>[/ <since>].|{Np}{loc} {has} [/now /since ]<gone>[/ <since>].|"
        "The <former> {np} {is} [no longer/not any more/no more/not/not anymore/no longer clearly] [seen/visible/present/evident/identified/demonstrated/apparent/"
        "detected/appreciated/found/visualized/discernible/recognizable/there/observed][/ <tail>].|{Np}{loc} {is} no longer [seen/visible/present/evident/identified/"
        "demonstrated/apparent/detected/appreciated/found/visualized/discernible/shown/depicted/observed/recognized][/ <tail>].|"
        "[/Interval ]<resolution> of the [/<former> ]{np}{loc}[/ <since>].|There has been <resolution> of the [/<former> ]{np}{loc}[/ <since>].|"
        "The {np} [seen/noted/described/reported/present/visible/documented/identified/demonstrated/mentioned/known/found] [on/from/in/at the time of] {when} "
        "[{has} <gone>/{is} no longer <seen>/{is} no longer <visible>/{is} not <seen> any more/{is} now gone/can no longer be <seen>/cannot be <seen> any longer].|"
        "[Previously/Formerly/Initially/Earlier] [seen/noted/described/reported/present/known/visible/existing/documented] {np} {has} [/now /since ]<gone>.|"
        "[Previously/Formerly] [seen/noted/described/known] {np} [is/are] [no longer/not] [seen/visible/present/evident/identified/found].|"
        "[Since/Compared with/Compared to/In comparison with] {when}, [the {np} {has} <gone>/<resolution> of the {np}/the {np} {is} no longer <seen>/the {np} {is} no longer <visible>/"
        "there is no more {nn}/no residual {nn}].|[Resolved/Cleared/Healed/Completely resolved/Fully resolved/Interval resolved/Now resolved/Status post resolved] {np}{loc}.|"
        "No [residual/remaining/persistent/persisting/recurrent/more/further/left-over/longer any] [/<evidence> of ]{nn}[/ <notail>].|"
        "No [/evidence of /sign of ][recurrence/residue/residual/remnant/persistence/relapse/reappearance/remains] of [the /][/<former> ]{np}.|"
        "{Np} [resolved/cleared/gone/disappeared/no longer seen/no longer present/not seen any more/no longer visible][/ <since>].|"
        "[There is/We see] no longer [any /]{nn}.|[There is/The] no [more/further] {nn}.|The {np} [has been/was] [/successfully /completely ][drained/evacuated/treated/removed/"
        "absorbed] and is [gone/no longer seen/not seen/resolved].|{Np}, now [resolved/gone/cleared/absent/no longer visible].|"
        "The {np} is a thing of the past.|Normalization after {np}.|"
        "The <former> {np} {has} {wug} resolved.|The {np} no longer {wugs}.|The <former> {np} {is} no longer {wug}.|{Wug} disappearance of {np}."),
    "history": words(
        "[Rule out/R/o/Exclude/Evaluate for/Assess for/Check for/Look for/Question of/Query/Concern for/Suspicion of/Suspected/Clinical concern for/"
        "Clinical suspicion of/Please evaluate for/Please assess for/Please rule out/?/Assessment for/Evaluation of/Workup of/Workup for/Surveillance for/Screening for/"
        "Assess/Evaluate/To exclude/To evaluate for/In question:/Possible/Probable/Clinically suspected/Is there] {np}[/?].|"
        "[History of/Past history of/Known history of/Prior/Previous/Remote/Past/Hx of/Status post/S/p/Recent/Family history of/Personal history of/Known/Documented/"
        "Follow-up of/Follow-up for/Follow up/Control of/Monitoring of/Treated/After treatment for/Post treatment of/Recovering from/Admitted with/Hospitalized for/"
        "Referred for/Sent for/Outside diagnosis of/GP suspects/ED concern for/Old] {np}.|"
        "{age}-year-old [man/woman/male/female/patient/lady/gentleman] [with/with known/with a history of/with suspected/with possible/with previous/followed for/treated for/at risk for/"
        "evaluated for/concern for/rule out] {np}.|[Pain/Fever/Cough/Dyspnea/Trauma/Fall/Weight loss/Weakness/Sepsis/Hypoxia/Elevated LFTs/Chest pain/Abdominal pain/Distension/Jaundice/Hematuria], [rule out/evaluate for/"
        "possible/suspected/?/question of/query/concern for/exclude/assess for/history of] {np}[/?].|{Np}?|{Np}, [follow-up/known/suspected/in 20{mm:10-24}/two years ago/treated/status/surveillance/evaluate/monitor].|"
        "[In 20{mm:10-24}/Last year/Years ago/Previously], {np}.|{Wug} {wug} {np}?|{Wug} with {np}."),
    "plain_history": words(
        "[Cough/Fever/Shortness of breath/Dyspnea/Chest pain/Abdominal pain/Flank pain/Back pain/Nausea and vomiting/Malaise/Fatigue/Palpitations/Syncope/Weakness/"
        "Hypotension/Hypoxia/Sepsis/Trauma/Fall/Motor vehicle collision/Weight loss/Anorexia/Night sweats/Jaundice/Pruritus/Hematuria/Dysuria/Constipation/Diarrhea/"
        "Elevated liver enzymes/Raised inflammatory markers/Raised creatinine/Renal failure/Anemia/Diabetes/Hypertension/Tachycardia/Wheeze/Hemoptysis/Pain/Tenderness]"
        "[/ for two days/ for {mm:2-9} days/ for {mm:2-6} weeks/, evaluate/ since yesterday/ after surgery/, unclear cause/, worsening].|"
        "{age}-year-old [man/woman/male/female/patient] with [cough/fever/dyspnea/chest pain/abdominal pain/weight loss/flank pain/sepsis/trauma/weakness/elevated enzymes].|"
        "[Preoperative/Postoperative/Pre-employment/Routine/Annual] [assessment/check/evaluation/control/screening/follow-up].|[Staging/Restaging/Line placement/Tube position/Intubation/Admission/Check-up/Not provided/None given/As above]."),
    "comparison": words("[None/None available/No prior studies/No previous imaging/{when}/<exam> of {when}/<exam> dated {when}/Prior <exam> from {when}/Multiple prior studies/"
                        "Outside <exam>/Radiographs {when}/CT of {when}/Previous studies, most recent {when}].".replace("<exam>", "[examination/study/radiograph/CT/ultrasound/scan]")),
    "closing": words("[Clinical correlation/Follow-up/Follow-up imaging/Further evaluation/Short-term follow-up/Repeat imaging/Comparison with prior studies/Surgical consultation/MRI/CT] [is /]"
                     "[recommended/advised/suggested/as indicated/if clinically indicated/may be helpful/could be considered].|[Otherwise/Remaining structures/The remainder of the study is/The rest of the examination is] "
                     "[unremarkable/normal/within normal limits/without abnormality].|[Discussed with/Communicated to/Results called to/Reported to] [the referring physician/the ward/Dr. Smith/the emergency department/the team].|"
                     "[No other/No further/No additional] [abnormality/finding/acute finding/significant finding/pathology][/ is seen/ identified]."),
}

_CHOICE, _WORD = re.compile(r"\[([^\[\]]*)\]"), re.compile(r"<(\w+)>")
_LISTS = {key: words(text) for key, text in VOCABULARY.items()}


def expand(pattern, pick):
    """One sentence frame of a grammar; `pick` chooses from a list."""
    while True:
        found = _CHOICE.search(pattern)
        if found:
            chosen = pick(found.group(1).split("/"))
        else:
            found = _WORD.search(pattern)
            if not found:
                break
            chosen = pick(_LISTS[found.group(1)])
        pattern = pattern[:found.start()] + chosen + pattern[found.end():]
    pattern = re.sub(r"\s+", " ", pattern).replace(" .", ".").replace(" ,", ",").strip()
    return pattern[:1].upper() + pattern[1:]
