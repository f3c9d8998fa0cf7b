/* Gives the files named on the command line, folders with all below them, to a fuzzing target. A
 * name is looked for as it stands, then in tests/fuzz of the source tree, then in the shared test
 * data
 * (../shared/data beside the source tree, or RADLLM_SHARED/data). */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_files;

static int replay_file(const char *path, const struct stat *information, int kind,
                       struct FTW *position)
{
    (void)position;
    if (kind != FTW_F)
        return 0;
    size_t size = (size_t)information->st_size;
    uint8_t *data = malloc(size > 0 ? size : 1); /* that size exactly: reading beyond it shows */
    FILE *file = fopen(path, "rb");
    if (data == NULL || file == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    n_files++;
    return 0;
}

static void find(const char *name, char path[4096])
{
    snprintf(path, 4096, "%s", name);
    if (access(path, R_OK) == 0)
        return;
    snprintf(path, 4096, "%s/tests/fuzz/%s", RAD_TEST_SOURCE_ROOT, name);
    if (access(path, R_OK) == 0)
        return;
    const char *shared = getenv("RADLLM_SHARED");
    if (shared != NULL)
        snprintf(path, 4096, "%s/data/%s", shared, name);
    else
        snprintf(path, 4096, "%s/../shared/data/%s", RAD_TEST_SOURCE_ROOT, name);
}

int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        char path[4096];
        find(names[i], path);
        if (access(path, R_OK) != 0) {
            printf("replay: %s is absent, passed over\n", names[i]);
            continue;
        }
        if (nftw(path, replay_file, 16, FTW_PHYS) != 0) {
            fprintf(stderr, "replay: cannot walk through %s\n", path);
            return 1;
        }
    }
    printf("replay: %d files\n", n_files);
    return n_files > 0 ? 0 : 77;
}
