/* Unicode's normal forms (UAX 15) over views and flows, on utf8proc's character data. */
#ifndef RAD_NORMAL_FORM_H
#define RAD_NORMAL_FORM_H

#include "text/pipeline.h"

/* n log n at worst, for any run of marks. */
bool rad_normal_form(const rad_normalizer *form, rad_pipeline_space *space, const rad_slice *in,
                     rad_flow *out);

#endif
