/* Looks like libradllm-blas.so, but comes from another build: test_blas.c wants it refused. */
const char radllm_blas_build_id[] = "0.0.1 interface 0";

const char *radllm_blas_description(void);
int radllm_blas_product_f32(void);

const char *radllm_blas_description(void)
{
    return "another build";
}

int radllm_blas_product_f32(void)
{
    return 1;
}
