/* Paths as they are shown in messages. */
#ifndef RAD_FILE_PATH_H
#define RAD_FILE_PATH_H

#include "base/base.h"

/* Copies a path as printable UTF-8: control characters and bytes that are no UTF-8 become \xNN. Of
 * a path that is too long the end is kept, behind "...". Returns out. */
#define RAD_PATH_LABEL_SIZE 320
const char *rad_path_label(char out[RAD_PATH_LABEL_SIZE], const char *path);

#endif
