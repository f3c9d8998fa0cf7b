/* Writing several files that are of use only together: a model's folder. */
#ifndef RAD_FOLDER_WRITE_H
#define RAD_FOLDER_WRITE_H

#include "base/file_write.h"

/* Files go to PATH.partial/, which becomes PATH when all are written: nobody sees half a folder.
 * One thread at a time. */
typedef struct rad_folder_output rad_folder_output;

/* replace: a folder at PATH gives way at the end, where it holds nothing but the files of a model;
 * without, RADLLM_E_ARGUMENT when anything stands there. out NULL: nothing else is done. */
radllm_status rad_folder_output_open(const rad_allocator *allocator, const char *path, bool replace,
                                     rad_folder_output **out, radllm_error *error);
/* Begins a file of it; commit and free it like any other. The name has no '/', but for
 * files in 1_Pooling/. */
radllm_status rad_folder_output_file(rad_folder_output *folder, const char *name, rad_output **out,
                                     radllm_error *error);
radllm_status rad_folder_output_commit(rad_folder_output *folder, radllm_error *error);
/* Removes what was written, unless it was committed. */
void rad_folder_output_free(rad_folder_output *folder);

#endif
