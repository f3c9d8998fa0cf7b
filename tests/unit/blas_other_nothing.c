/* A shared object that has nothing to do with BLAS: test_blas.c wants it refused. */
int unrelated(void);

int unrelated(void)
{
    return 1;
}
