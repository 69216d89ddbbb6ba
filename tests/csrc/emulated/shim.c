/* SPDX-License-Identifier: BSD-3-Clause */
/* shim.c: loaded before the emulator: lets it be a Sapphire Rapids where it would be a
 * Cannon Lake, and has the functions of newer C libraries that it wants. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define READS(type, name)                                                                  \
    type __isoc23_##name(const char *text, char **end, int base)                           \
    {                                                                                      \
        return name(text, end, base);                                                      \
    }
READS(long, strtol)
READS(long long, strtoll)
READS(unsigned long, strtoul)
READS(unsigned long long, strtoull)

int __isoc23_sscanf(const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int count = vsscanf(text, format, arguments);
    va_end(arguments);
    return count;
}

void *_Z23create_corei3_cnl_cpuidP8BX_CPU_C(void *cpu)
{
    void *emulator = dlopen(getenv("EMULATOR"), RTLD_NOLOAD | RTLD_NOW);
    void *(*create)(void *);
    *(void **)&create = dlsym(emulator, "_Z28create_sapphire_rapids_cpuidP8BX_CPU_C");
    return create(cpu);
}
