/* One pass of a GPT over n tokens of any rows of a key-value cache, in float32. inference/compiled.py calls it.

   inference/fused.py does the same with PyTorch. There, a pass is some thirty small operations a
   layer, and calling them costs as much as their work; here it is one call.

   What a token gives does not depend, to the last bit, on the tokens beside it or on the number of threads: each sum is made
   for one token alone, in one order.

   V: vocabulary, C: n_embd, H: n_head, G: n_kv_head, D: head_size, M: mlp_size. Arrays are row-major. The gain of a norm is part
   of the weights of the product behind it. */

#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#define omp_get_num_threads() 1
#endif

#if defined(__AVX512F__)
#define LANES 16 /* of a vector register */
#define TILE 8   /* tokens whose sums in a panel fit the registers */
#elif defined(__AVX__)
#define LANES 8
#define TILE 6
#else
#define LANES 4
#define TILE 6
#endif
#define PANEL (2 * LANES) /* columns of a matrix that lie together */
#define BLOCK 32          /* tokens that use a panel while it is in the nearest cache */
#define FEW 64            /* candidates of a draw that are tried first */
#define PATIENCE 4000     /* looks at a barrier before the processor is offered to others */

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__) || defined(__i386__)
#define REST() __builtin_ia32_pause() /* while waiting for another thread */
#else
#define REST()
#endif
#define UNROLL _Pragma("GCC unroll 16")

enum Norm { NO_NORM, RMS_NORM, LAYER_NORM };
enum MLP { SWIGLU, GELU, GELU_EXACT };

typedef struct {
    int64_t in, out;
    const float *panels; /* of PANEL columns each, (in, PANEL), the last one filled up with zeros */
    const float *bias;   /* (out), or NULL */
} Matrix;

typedef struct {
    Matrix project, output, up, down;
    const float *head_gain; /* (H + G, D): gains of the norms of queries, which hold 1 / sqrt(D), and of keys */
} Layer;

typedef struct {
    int64_t n_layer, n_embd, n_head, n_kv_head, head_size, mlp_size, norm, head_norm, mlp;
    float norm_eps;
    const float *embedding; /* (V, C) */
    const float *positions; /* (block_size, C): learned positions, or NULL: they are rotary */
    const float *angles;    /* (n_columns, D): of rotary positions, cosines, then sines */
    const Layer *layers;
    Matrix head;
} Model;

typedef struct {
    float *store; /* (n_layer, n_rows, 2 G, n_columns, D): of each row the keys of all heads, then their values */
    int64_t n_rows, n_columns;
} Cache;

typedef struct {
    int64_t n;
    const int64_t *ids, *rows, *positions;
    float *x;       /* (n, C): the residual stream */
    float *heads;   /* (n, H + 2 G, D): queries, keys, values */
    float *mixed;   /* (n, H, D): what attention brings */
    float *up;      /* (n, 2 M or M): what the MLP has inside */
} Pass;

/* Threads that share each part of a pass and wait for each other behind it. */
typedef struct {
    int64_t arrived, round;
} Team;

typedef struct {
    Team *team;
    int64_t number, size; /* of the team */
    float *scratch;       /* (BLOCK, C or M), or the scores of a token */
} Member;

static void meet(const Member *member)
{
    Team *team = member->team;
    if (member->size == 1)
        return;
    int64_t round = __atomic_load_n(&team->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == member->size) {
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int64_t looks = 0; __atomic_load_n(&team->round, __ATOMIC_ACQUIRE) == round; looks++) {
        if (looks > PATIENCE)
            sched_yield();
        REST();
    }
}

/* The member's share of n things: from `first`, to before `stop`. */
typedef struct {
    int64_t first, stop;
} Range;

INLINE Range share(const Member *member, int64_t n)
{
    return (Range){n * member->number / member->size, n * (member->number + 1) / member->size};
}

INLINE float sum_of_lanes(vector v)
{
    typedef float half __attribute__((vector_size(2 * LANES)));
    typedef float quarter __attribute__((vector_size(LANES)));
    half h[2];
    quarter q[2];
    memcpy(h, &v, sizeof v);
    h[0] += h[1];
    memcpy(q, h, sizeof *h);
    q[0] += q[1];
    float total = 0;
    UNROLL
    for (int i = 0; i < LANES / 4; i++)
        total += q[0][i];
    return total;
}

INLINE vector at_most(vector x, float bound) /* NaN stays NaN */
{
    integers above = (integers)(x > bound);
    return (vector)((~above & (integers)x) | (above & (integers)((vector){} + bound)));
}

/* e^x, to two units in the last place, for x from -87 to 87; beyond them that of the nearer one. */
INLINE vector exponential(vector x)
{
    const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = -at_most(-at_most(x, 87.0f), 87.0f);
    vector rounded = x * log2e + round;
    vector n = rounded - round;
    vector r = x - n * ln2_high;
    r = r - n * ln2_low;
    vector p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    integers power = __builtin_convertvector(n, integers) + 127;
    return p * (vector)(power << 23);
}

INLINE float dot(const float *a, const float *b, int64_t n)
{
    vector sum = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum += *(const vector *)(a + i) * *(const vector *)(b + i);
    float total = sum_of_lanes(sum);
    for (; i < n; i++)
        total += a[i] * b[i];
    return total;
}

INLINE float sum_of(const float *x, int64_t n)
{
    vector sum = {};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum += *(const vector *)(x + i);
    float total = sum_of_lanes(sum);
    for (; i < n; i++)
        total += x[i];
    return total;
}

/* out = x / |x|_rms or (x - mean) / deviation, without the gain; where it is RMS_NORM the gain holds sqrt(n). */
static void normalize(int64_t norm, float eps, int64_t n, const float *x, float *out)
{
    float mean = norm == LAYER_NORM ? sum_of(x, n) / n : 0, scale = 1;
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] - mean;
    if (norm == LAYER_NORM)
        scale = 1 / sqrtf(dot(out, out, n) / n + eps);
    else if (norm == RMS_NORM)
        scale = 1 / sqrtf(dot(out, out, n) + n * eps);
    for (int64_t i = 0; i < n; i++)
        out[i] *= scale;
}

/* What a row is turned into before a product. */
typedef void Prepare(const Model *model, const float *row, float *prepared);

static void normalized(const Model *model, const float *row, float *prepared)
{
    normalize(model->norm, model->norm_eps, model->n_embd, row, prepared);
}

static void activated(const Model *model, const float *row, float *prepared)
{
    int64_t M = model->mlp_size, i = 0;
    if (model->mlp == GELU_EXACT)
        for (; i < M; i++)
            prepared[i] = 0.5f * row[i] * (1 + erff(row[i] * 0.70710678f));
    for (; i < M; i += LANES) { /* x times the logistic function, of x or of what makes it GELU */
        float rest[3 * LANES] = {0};
        int64_t n = M - i < LANES ? M - i : LANES;
        const float *in = row + i, *gate = row + M + i;
        float *out = prepared + i;
        if (n < LANES) {
            memcpy(rest, in, n * sizeof(float));
            if (model->mlp == SWIGLU)
                memcpy(rest + LANES, gate, n * sizeof(float));
            in = rest, gate = rest + LANES, out = rest + 2 * LANES;
        }
        vector x = *(const vector *)in, z = x, factor = x;
        if (model->mlp == SWIGLU)
            factor = x * *(const vector *)gate;
        else
            z = 1.59576912f * (x + 0.044715f * x * x * x);
        *(vector *)out = factor / (1.0f + exponential(-z));
        if (n < LANES)
            memcpy(prepared + i, out, n * sizeof(float));
    }
}

/* A panel's columns of the product of some tokens, at most TILE; `n` is known where this is used. */
INLINE void tile(const int n, int64_t in, const float *x, const float *panel, float *sums)
{
    vector sum[TILE][2] = {};
    for (int64_t k = 0; k < in; k++) {
        vector left = *(const vector *)(panel + k * PANEL), right = *(const vector *)(panel + k * PANEL + LANES);
        UNROLL
        for (int i = 0; i < n; i++) {
            sum[i][0] += x[i * in + k] * left;
            sum[i][1] += x[i * in + k] * right;
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        *(vector *)(sums + i * PANEL) = sum[i][0];
        *(vector *)(sums + i * PANEL + LANES) = sum[i][1];
    }
}

static void any_tile(int64_t n, int64_t in, const float *x, const float *panel, float *sums)
{
    switch (n) {
    case 1: tile(1, in, x, panel, sums); break;
    case 2: tile(2, in, x, panel, sums); break;
    case 3: tile(3, in, x, panel, sums); break;
    case 4: tile(4, in, x, panel, sums); break;
    case 5: tile(5, in, x, panel, sums); break;
    case 6: tile(6, in, x, panel, sums); break;
#if TILE == 8
    case 7: tile(7, in, x, panel, sums); break;
    case 8: tile(8, in, x, panel, sums); break;
#endif
    }
}

/* out (n, matrix.out) = keep * out + the product of prepared x + bias: the member's share of the columns. */
static void product(const Model *model, const Member *member, const Matrix *matrix, int64_t n, const float *x,
                    int64_t width, Prepare *prepare, float keep, float *out)
{
    float sums[TILE * PANEL];
    int64_t in = matrix->in, n_columns = matrix->out;
    Range panels = share(member, (n_columns + PANEL - 1) / PANEL);
    for (int64_t block = 0; block < n; block += BLOCK) {
        int64_t size = n - block < BLOCK ? n - block : BLOCK, n_tiles = (size + TILE - 1) / TILE;
        const float *rows = x + block * width;
        if (prepare) {
            for (int64_t i = 0; i < size; i++)
                prepare(model, rows + i * width, member->scratch + i * in);
            rows = member->scratch;
        }
        for (int64_t panel = panels.first; panel < panels.stop; panel++) {
            int64_t column = panel * PANEL, n_left = n_columns - column < PANEL ? n_columns - column : PANEL;
            for (int64_t t = 0; t < n_tiles; t++) {
                int64_t first = size * t / n_tiles, stop = size * (t + 1) / n_tiles;
                any_tile(stop - first, in, rows + first * in, matrix->panels + column * in, sums);
                for (int64_t i = first; i < stop; i++) {
                    float *target = out + (block + i) * n_columns + column, *sum = sums + (i - first) * PANEL;
                    for (int64_t j = 0; j < n_left; j++)
                        target[j] = (keep != 0 ? target[j] : 0) + sum[j] + (matrix->bias ? matrix->bias[column + j] : 0);
                }
            }
        }
    }
}

/* Normalize a query or a key and turn it by its position. */
static void place(const Model *model, const float *gain, const float *angles, float *head)
{
    int64_t D = model->head_size, half = D / 2;
    normalize(model->head_norm, model->norm_eps, D, head, head);
    for (int64_t i = 0; i < D; i++)
        head[i] *= gain[i];
    if (angles)
        for (int64_t i = 0; i < half; i++) {
            float l = head[i], r = head[i + half], c = angles[i], s = angles[half + i];
            head[i] = l * c - r * s;
            head[i + half] = r * c + l * s;
        }
}

/* scores = e^(q k - the largest), over the first n keys; returns their sum. Those up to a full vector are 0. */
static float weigh(int64_t n, int64_t D, const float *q, const float *keys, float *scores)
{
    float largest = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        scores[j] = dot(q, keys + j * D, D);
        largest = scores[j] > largest ? scores[j] : largest;
    }
    for (int64_t j = 0; j < n; j += LANES)
        *(vector *)(scores + j) = exponential(*(vector *)(scores + j) - largest);
    for (int64_t j = n; j % LANES; j++)
        scores[j] = 0;
    vector total = {};
    for (int64_t j = 0; j < n; j += LANES)
        total += *(vector *)(scores + j);
    return sum_of_lanes(total);
}

/* out (n_vectors * LANES) = the sum of n rows of values, D apart, by weight, times scale. */
INLINE void mix(const int n_vectors, int64_t n, int64_t D, const float *weights, const float *values, float scale, float *out)
{
    vector sum[8] = {};
    for (int64_t j = 0; j < n; j++)
        UNROLL
        for (int i = 0; i < n_vectors; i++)
            sum[i] += weights[j] * *(const vector *)(values + j * D + i * LANES);
    UNROLL
    for (int i = 0; i < n_vectors; i++)
        *(vector *)(out + i * LANES) = sum[i] * scale;
}

static void attend(int64_t n, int64_t D, const float *q, const float *keys, const float *values, float *scores, float *out)
{
    float scale = 1 / weigh(n, D, q, keys, scores);
    int64_t d = 0;
    for (; d + 8 * LANES <= D; d += 8 * LANES)
        mix(8, n, D, scores, values + d, scale, out + d);
    for (; d + 4 * LANES <= D; d += 4 * LANES)
        mix(4, n, D, scores, values + d, scale, out + d);
    for (; d + LANES <= D; d += LANES)
        mix(1, n, D, scores, values + d, scale, out + d);
    for (; d < D; d++) {
        float sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += scores[j] * values[j * D + d];
        out[d] = sum * scale;
    }
}

/* Store the keys and values of the pass, and attend: the member's share of the key-value heads, with their queries. */
static void attention(const Model *model, const Member *member, const Layer *layer, const Cache *cache, float *store, Pass *pass)
{
    int64_t H = model->n_head, G = model->n_kv_head, D = model->head_size, group = H / G, one = cache->n_columns * D;
    Range mine = share(member, G);
    for (int64_t g = mine.first; g < mine.stop; g++) {
        for (int64_t t = 0; t < pass->n; t++) {
            int64_t position = pass->positions[t];
            const float *angles = model->positions ? NULL : model->angles + position * D;
            float *heads = pass->heads + t * (H + 2 * G) * D, *keys = store + (pass->rows[t] * 2 * G + g) * one;
            for (int64_t h = g * group; h < (g + 1) * group; h++)
                place(model, layer->head_gain + h * D, angles, heads + h * D);
            place(model, layer->head_gain + (H + g) * D, angles, heads + (H + g) * D);
            memcpy(keys + position * D, heads + (H + g) * D, D * sizeof(float));
            memcpy(keys + G * one + position * D, heads + (H + G + g) * D, D * sizeof(float));
        }
        for (int64_t t = 0; t < pass->n; t++) {
            const float *keys = store + (pass->rows[t] * 2 * G + g) * one;
            for (int64_t h = g * group; h < (g + 1) * group; h++)
                attend(pass->positions[t] + 1, D, pass->heads + (t * (H + 2 * G) + h) * D, keys, keys + G * one,
                       member->scratch, pass->mixed + (t * H + h) * D);
        }
    }
}

static void embed(const Model *model, Pass *pass)
{
    int64_t C = model->n_embd;
    for (int64_t t = 0; t < pass->n; t++) {
        memcpy(pass->x + t * C, model->embedding + pass->ids[t] * C, C * sizeof(float));
        for (int64_t i = 0; model->positions && i < C; i++)
            pass->x[t * C + i] += model->positions[pass->positions[t] * C + i];
    }
}

static void run(const Model *model, const Cache *cache, const Member *member, Pass *pass)
{
    int64_t C = model->n_embd, H = model->n_head, G = model->n_kv_head, D = model->head_size;
    if (member->number == 0)
        embed(model, pass);
    meet(member);
    for (int64_t i = 0; i < model->n_layer; i++) {
        const Layer *layer = model->layers + i;
        product(model, member, &layer->project, pass->n, pass->x, C, normalized, 0, pass->heads);
        meet(member);
        attention(model, member, layer, cache, cache->store + i * cache->n_rows * 2 * G * cache->n_columns * D, pass);
        meet(member);
        product(model, member, &layer->output, pass->n, pass->mixed, H * D, NULL, 1, pass->x);
        meet(member);
        product(model, member, &layer->up, pass->n, pass->x, C, normalized, 0, pass->up);
        meet(member);
        product(model, member, &layer->down, pass->n, pass->up, layer->up.out, activated, 1, pass->x);
        meet(member);
    }
}

/* Floats of a thread's scratch, and of what a token has between the parts of a pass. */
static int64_t per_thread(const Model *model, int64_t n_columns)
{
    int64_t widest = BLOCK * (model->n_embd > model->mlp_size ? model->n_embd : model->mlp_size);
    return n_columns + LANES > widest ? n_columns + LANES : widest;
}

static int64_t per_token(const Model *model)
{
    return (2 * model->n_head + 2 * model->n_kv_head) * model->head_size + model->layers->up.out;
}

/* Floats of memory that a pass of n tokens needs, and the logits of any number. */
int64_t folio_memory(const Model *model, int64_t n_columns, int64_t n, int64_t n_threads)
{
    return n * per_token(model) + n_threads * per_thread(model, n_columns);
}

/* Read n tokens, each with its row of the cache and its place there, and write their last hidden states to x (n, C).

   alone: no two of them are of one row. Then, if they are many, each thread has tokens of its own, and none waits. */
void folio_read(const Model *model, const Cache *cache, int64_t n, const int64_t *ids, const int64_t *rows,
                const int64_t *positions, int64_t alone, int64_t n_threads, float *memory, float *x)
{
    Team all = {0, 0};
#pragma omp parallel num_threads(n_threads)
    {
        int64_t number = omp_get_thread_num(), size = omp_get_num_threads(), first = 0, stop = n;
        float *scratch = memory + n * per_token(model) + number * per_thread(model, cache->n_columns);
        Member member = {&all, number, size, scratch};
        if (alone && n >= TILE * size) {
            first = n * number / size, stop = n * (number + 1) / size;
            member.number = 0, member.size = 1;
        }
        float *heads = memory + first * per_token(model);
        int64_t n_mine = stop - first, width = model->n_head * model->head_size;
        float *mixed = heads + n_mine * (width + 2 * model->n_kv_head * model->head_size);
        Pass pass = {n_mine, ids + first, rows + first, positions + first, x + first * model->n_embd,
                     heads,  mixed,       mixed + n_mine * width};
        run(model, cache, &member, &pass);
    }
}

/* Turn n hidden states into logits (n, V). */
void folio_logits(const Model *model, int64_t n, const float *x, int64_t n_threads, float *memory, float *logits)
{
#pragma omp parallel num_threads(n_threads)
    {
        int64_t number = omp_get_thread_num();
        Member member = {NULL, number, omp_get_num_threads(), memory + number * per_thread(model, 0)};
        product(model, &member, &model->head, n, x, model->n_embd, normalized, 0, logits);
    }
}

/* How a row's token is drawn: sampler.py says what each does. */
typedef struct {
    int64_t vocab_size; /* only ids below it */
    int64_t k;          /* candidates, the likeliest first; 0: all, in the order of their ids */
    float temperature, logprob_temperature, top_p, log_min_p;
} Sampling;

/* Whether a comes before b: it has the higher score, or the same and the lower id. */
INLINE int comes_before(const float *scores, int32_t a, int32_t b)
{
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

/* Let heap[i] sink until none below it comes later: then heap[0] is the last of all. */
static void sink(const float *scores, int32_t *heap, int64_t size, int64_t i)
{
    for (int64_t child; (child = 2 * i + 1) < size; i = child) {
        if (child + 1 < size && comes_before(scores, heap[child], heap[child + 1]))
            child++;
        if (!comes_before(scores, heap[i], heap[child]))
            return;
        int32_t id = heap[i];
        heap[i] = heap[child], heap[child] = id;
    }
}

/* Write the first k of n ids, in the order of `comes_before`. */
static void first_k(const float *scores, int64_t n, int64_t k, int32_t *ids)
{
    for (int64_t i = 0; i < k; i++)
        ids[i] = i;
    for (int64_t i = k / 2; i-- > 0;)
        sink(scores, ids, k, i);
    for (int64_t i = k; i < n; i++)
        if (comes_before(scores, i, ids[0])) {
            ids[0] = i;
            sink(scores, ids, k, 0);
        }
    for (int64_t size = k - 1; size > 0; size--) { /* the last of those left goes behind them */
        int32_t last = ids[0];
        ids[0] = ids[size], ids[size] = last;
        sink(scores, ids, size, 0);
    }
}

/* weights = e^((scores - the highest) / temperature) of n ids, or of the first n; returns the highest score. */
static float soften(const float *scores, const int32_t *ids, int64_t n, float temperature, float *weights)
{
    float highest = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        weights[i] = scores[ids ? ids[i] : i];
        highest = weights[i] > highest ? weights[i] : highest;
    }
    for (int64_t i = 0; i < n; i += LANES)
        *(vector *)(weights + i) = exponential((*(vector *)(weights + i) - highest) / temperature);
    return highest;
}

static double total(const float *weights, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += weights[i];
    return sum;
}

/* How many of n candidates, the likeliest first, top-p and min-p leave: at least one. all: the sum of all weights. */
static int64_t leave(const Sampling *how, int64_t n, const float *weights, double all)
{
    double before = 0;
    float least = expf(how->log_min_p);
    int64_t left = 1;
    for (; left < n; left++) {
        before += weights[left - 1];
        if (before / all >= how->top_p || weights[left] < least)
            break;
    }
    return left;
}

/* Find the candidates that are left of n, with their weights, the likeliest first; returns how many.

   Where all n may be candidates, top-p and min-p mostly leave a few, so that first only a few are put in order. */
static int64_t candidates(const Sampling *how, int64_t n, const float *scores, float *weights, int32_t *ids)
{
    int64_t k = how->k < n ? how->k : n, some = k < n || n < FEW ? k : FEW;
    double all = 0;
    if (k == n) {
        soften(scores, NULL, n, how->temperature, weights);
        all = total(weights, n);
    }
    for (;; some = some * 8 < k ? some * 8 : k) {
        first_k(scores, n, some, ids);
        soften(scores, ids, some, how->temperature, weights);
        int64_t left = leave(how, some, weights, k < n ? total(weights, some) : all);
        if (left < some || some == k)
            return left;
    }
}

static int64_t draw(const Sampling *how, int64_t V, const float *scores, float noise, float *weights, int32_t *ids)
{
    int64_t n = how->vocab_size < V ? how->vocab_size : V;
    if (how->k)
        n = candidates(how, n, scores, weights, ids);
    else
        soften(scores, NULL, n, how->temperature, weights);
    double goal = noise * total(weights, n), sum = 0;
    int64_t i = 0;
    while (i < n - 1 && (sum += weights[i]) < goal)
        i++;
    return how->k ? ids[i] : i;
}

/* Draw a token for each of n rows, and say how likely it was.

   logits, scores: (n, V); scores are what is drawn from. noise: in (0, 1]. memory: (2 V + LANES) floats. */
void folio_draw(int64_t n, int64_t V, const float *logits, const float *scores, const Sampling *how, const float *noise,
                float *memory, int64_t *tokens, float *logprobs)
{
    for (int64_t row = 0; row < n; row++, logits += V, scores += V, how++) {
        int64_t token = tokens[row] = draw(how, V, scores, noise[row], memory, (int32_t *)(memory + V + LANES));
        float highest = soften(logits, NULL, V, how->logprob_temperature, memory);
        logprobs[row] = (logits[token] - highest) / how->logprob_temperature - log(total(memory, V));
    }
}

/* Lay a matrix (in, out) out in panels. */
void folio_pack(int64_t in, int64_t out, const float *weight, float *panels)
{
    for (int64_t column = 0; column < out; column += PANEL)
        for (int64_t k = 0; k < in; k++)
            for (int64_t j = 0; j < PANEL; j++)
                panels[column * in + k * PANEL + j] = column + j < out ? weight[k * out + column + j] : 0;
}

int64_t folio_panel(void)
{
    return PANEL;
}
