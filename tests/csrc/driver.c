/* SPDX-License-Identifier: BSD-3-Clause */
/* driver.c: run the kernels where Python cannot go.
 *
 *   driver tables            what dispatch finds on this machine, best first
 *   driver replay heap|after-guard|before-guard [threads [every]]
 *                      all cases, or one of `every`, on every table of this machine, a line
 *                      "table case:array checksum" each
 *   driver sweep [stride]    elementary functions over all floats, or one of `stride`
 */
#include "driver.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 16 };

static const fa_kernels *table;
static char name[128];
static int threads = 1;
static int64_t cases, every = 1;

int begin(const fa_kernels *of, const char *format, ...)
{
    va_list arguments;
    if (of != table) cases = 0;
    table = of;
    if (cases++ % every) return 0;
    release_memory();
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return 1;
}

static void report_fault(int number)
{
    char text[256];
    const int length = snprintf(text, sizeof text, "%s %s: %s\n", table->name, name,
                                number == SIGABRT ? "aborted" : "outside of its memory");
    _exit(write(STDERR_FILENO, text, (size_t)length) == length ? 1 : 2);
}

typedef struct {
    const fa_op *op;
    const void *plan;
    int64_t first_task;
    void *scratch;
} worker;

/* Tasks go round the threads, so that each has some however short they are. */
static void *work(void *argument)
{
    const worker *w = argument;
    const int64_t tasks = w->op->tasks(w->plan);
    for (int64_t task = w->first_task; task < tasks; task += threads) {
        w->op->run(w->plan, task, w->scratch);
    }
    return 0;
}

void run(const fa_op *op, const void *plan)
{
    pthread_t others[MOST_THREADS];
    worker workers[MOST_THREADS];
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){op, plan, i, memory(op->scratch(plan))};
    }
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&others[i], 0, work, &workers[i])) abort();
    }
    work(&workers[0]);
    for (int i = 1; i < threads; i++) pthread_join(others[i], 0);
}

void finish(const char *result, const void *bits, int64_t bytes)
{
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    for (int64_t i = 0; i < bytes; i++) {
        sum = (sum ^ ((const uint8_t *)bits)[i]) * 1099511628211u;
    }
    printf("%s %s:%s %016" PRIx64 "\n", table->name, name, result, sum);
}

static int replay(const char *where)
{
    const char *names[] = {"heap", "after-guard", "before-guard"};
    int i = 0;
    while (strcmp(where, names[i])) {
        if (++i == 3) return 2;
    }
    place_memory((placement)i);
    signal(SIGSEGV, report_fault);
    signal(SIGBUS, report_fault);
    signal(SIGABRT, report_fault);
    for (i = 0; i < fa_num_kernels(); i++) {
        if (!fa_kernels_supported(i)) continue;
        product_cases(fa_kernels_at(i));
        search_cases(fa_kernels_at(i));
        precision_cases(fa_kernels_at(i));
        row_cases(fa_kernels_at(i));
        attention_cases(fa_kernels_at(i));
    }
    release_memory();
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 2 && !strcmp(arguments[1], "tables")) {
        for (int i = 0; i < fa_num_kernels(); i++) {
            if (fa_kernels_supported(i)) puts(fa_kernels_at(i)->name);
        }
        return 0;
    }
    if (count >= 2 && !strcmp(arguments[1], "sweep")) {
        sweep(count > 2 ? atoll(arguments[2]) : 1);
        return 0;
    }
    if (count < 3 || strcmp(arguments[1], "replay")) return 2;
    if (count > 3) threads = atoi(arguments[3]);
    if (count > 4) every = atoll(arguments[4]);
    if (every < 1 || threads < 1 || threads > MOST_THREADS) return 2;
    return replay(arguments[2]);
}
