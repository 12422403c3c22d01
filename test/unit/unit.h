/*
 * What every unit test needs before cmocka.h, in the order cmocka asks for: include this first,
 * then the header under test.
 */
#ifndef HF_TEST_UNIT_UNIT_H
#define HF_TEST_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
