#!/usr/bin/env python3
"""What the shared library shows to others and takes from them.
Usage: check_exports.py LIBRARY DESCRIPTION [--static-dependencies]

Every function of the header is exported under the version node RADLLM_0 and nothing else is; no
function is imported that aborts, exits, prints, reads the environment, touches signals, sockets or
the locale, or that computes what the numeric contract says the library computes itself."""
import json
import re
import subprocess
import sys

from tap import Tap

# Whoever imports one of these could end, print to, or change the host. (pthread_sigmask is allowed:
# the pool's threads are made with all signals blocked, so that none is handled on them.)
DENIED = set("""
abort exit _exit _Exit quick_exit atexit on_exit __assert_fail __assert_perror_fail __assert
printf vprintf fprintf vfprintf dprintf vdprintf puts fputs putchar putc fputc fwrite perror psignal
__printf_chk __vprintf_chk __fprintf_chk __vfprintf_chk __dprintf_chk stdout stderr stdin
error error_at_line err errx warn warnx verr vwarn syslog openlog getchar gets scanf
getenv secure_getenv __secure_getenv setenv unsetenv putenv clearenv environ __environ
signal sigaction sigprocmask sigset raise kill pthread_kill alarm setitimer sigaltstack
setjmp _setjmp longjmp siglongjmp __longjmp_chk __sigsetjmp
socket connect bind listen accept send sendto recv recvfrom getaddrinfo gethostbyname
system popen execl execle execlp execv execve execvp posix_spawn posix_spawnp fork vfork clone
setlocale newlocale uselocale localeconv strtod strtof strtold atof rand srand random srandom rand_r
localtime gmtime ctime asctime strerror strtok tmpnam mktemp chdir umask setuid setrlimit
fesetenv feenableexcept
""".split())

# The only functions of the C library's mathematics that round the same everywhere.
MATH_ALLOWED = {"fma", "fmaf", "sqrt", "sqrtf"}
MATH = re.compile(r"^(__)?(a?(sin|cos|tan)h?|exp(2|10|m1)?|log(2|10|1p|b)?|pow|cbrt|hypot|erfc?|[lt]gamma"
                  r"|atan2|sincos|fmod|remainder|scalbl?n|ldexp|frexp|modf|ilogb|nextafter|nexttoward"
                  r"|l?l?(round|rint)|nearbyint|trunc|ceil|floor|round|fdim|fmax|fmin|roundeven"
                  r"|sqrt|fma|fabs|copysign|nan|j[01n]|y[01n])(f|l|f16|f32|f64|f128)?(_finite)?$")


def symbols(library, option):
    """(name, version) of each dynamic symbol."""
    done = subprocess.run(["nm", "-D", "--with-symbol-versions", option, library], check=True,
                          capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name, _, version = line.split()[-1].partition("@")
        yield name, version.lstrip("@"), line.split()[-2]


def main():
    tap = Tap()
    library, description = sys.argv[1:3]
    static = "--static-dependencies" in sys.argv
    with open(description, encoding="utf-8") as file:
        declared = {function["name"] for function in json.load(file)["functions"]}
    defined = list(symbols(library, "--defined-only"))
    exported = {name for name, _, kind in defined if kind in "TWi"}
    missing = sorted(declared - exported)
    tap.check(not missing, f"all {len(declared)} functions of the header are exported", missing)
    extra = sorted(name for name, _, kind in defined if name not in declared and kind != "A")
    tap.check(not extra, "nothing else is exported", extra)
    unversioned = sorted(name for name, version, kind in defined
                         if not re.fullmatch(r"RADLLM_\d+", version) and kind != "A")
    tap.check(not unversioned, "every symbol has a version", unversioned)

    imported = {name for name, _, _ in symbols(library, "--undefined-only")}
    if static:
        tap.skip("no import can harm the host", "third-party libraries are inside")
    else:
        denied = sorted(imported & DENIED)
        tap.check(not denied, "no import can harm the host", denied)
    mathematics = sorted(n for n in imported if MATH.match(n) and n not in MATH_ALLOWED)
    tap.check(not mathematics, "no mathematical function but fma and sqrt is imported", mathematics)
    blas = sorted(name for name in imported if name.startswith(("cblas_", "openblas_")))
    tap.check(not blas, "the library itself does not need BLAS", blas)

    headers = subprocess.run(["readelf", "-W", "-l", "-d", library], check=True, capture_output=True,
                             text=True).stdout
    stack = re.search(r"GNU_STACK.*?(R\S*)\s+0x\S+$", headers, re.MULTILINE)
    tap.check(stack is not None and "E" not in stack.group(1), "the stack is not executable")
    tap.check("GNU_RELRO" in headers and re.search(r"BIND_NOW|FLAGS.*NOW", headers) is not None,
              "tables of addresses are read-only after loading (RELRO, BIND_NOW)")
    tap.check("TEXTREL" not in headers, "no relocation writes into code")
    soname = re.search(r"SONAME.*\[(.*)\]", headers)
    tap.check(soname is not None and soname.group(1) == "libradllm.so.0", "the soname is libradllm.so.0")
    needed = re.findall(r"NEEDED.*\[(.*)\]", headers)
    known = re.compile(r"^(libc|libm|libpthread|ld-linux-\S+|libpcre2-8|libutf8proc|libnettle|libjansson"
                       r"|libgcc_s)\.so")
    unknown = [name for name in needed if not known.match(name)]
    tap.check(not unknown, "only the libraries that the documentation names are needed", unknown)
    tap.end()


if __name__ == "__main__":
    main()
