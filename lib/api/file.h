/* Sharing of file handles between the files of the API layer. */
#ifndef RAD_API_FILE_H
#define RAD_API_FILE_H

#include "api/handles.h"

radllm_file *rad_file_retain(radllm_file *file);

#endif
