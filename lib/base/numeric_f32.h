/* Single-precision elementary functions as inline code without branches, so that the loops of the
 * layer kernels vectorise and give the same bits at every width. */
#ifndef RAD_NUMERIC_F32_H
#define RAD_NUMERIC_F32_H
#endif
