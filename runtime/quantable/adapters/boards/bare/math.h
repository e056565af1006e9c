/* What kernels need of the library of mathematics: library.c defines both. */
#ifndef QUANTABLE_MATH_H
#define QUANTABLE_MATH_H

double sqrt(double x);
double rint(double x);

#endif
