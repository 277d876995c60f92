/* Trains the network of model.py with the step that Pullback compiled; see there. */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "step.h"

enum { POINTS = 256, WIDTH = 32, STEPS = 2000 };

typedef struct {
    float slope[WIDTH], bias[WIDTH], weight[WIDTH], offset;
} network;

int main(void) {
    network net, next;
    float x[POINTS], y[POINTS], loss;

    for (int k = 0; k < WIDTH; k++) {
        net.slope[k] = 1 + k % 4;
        net.bias[k] = k / 4.0f - 4;
        net.weight[k] = k % 2 ? -0.1f : 0.1f;
    }
    net.offset = 0;
    for (int i = 0; i < POINTS; i++) {
        x[i] = -3 + 6.0f * i / (POINTS - 1);
        y[i] = sinf(2 * x[i]);
    }
    for (int i = 0; i < STEPS; i++) {
        int status = step(net.slope, net.bias, net.weight, &net.offset, x, y,
                          &loss, next.slope, next.bias, next.weight, &next.offset);
        if (status != STEP_OK) {
            fprintf(stderr, "the step failed with status %d\n", status);
            return 1;
        }
        memcpy(&net, &next, sizeof net);
        if (i % 250 == 0 || i == STEPS - 1)
            printf("step %d loss %.6f\n", i, loss);
    }
    return 0;
}
