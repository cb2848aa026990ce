// The ConvNet trained on a GPU without cuDNN and without activations in device memory: two kernels for a step of SGD, one for evaluation.
//
//   train     takes a tile of one member's batch from pixels to the gradient of its weights, in shared memory; grid: tiles x members
//   update    adds the gradients of a batch's tiles and takes the step of SGD; grid: pieces of the weights x members
//   evaluate  writes the logits of a tile; grid: tiles x members
//
// Every sum has one order, which depends on the member alone, so a member learns the same bits whoever trains beside it. Members of one
// launch may read different streams of batches, of different sizes, with different losses.
//
// Both convolutions are followed by max-pooling and ReLU, so the gradient is zero but for one of four pixels, the winner: backward visits
// winners only. Constants given at compile time: HEIGHT, WIDTH, CLASSES, WEIGHTS, THREADS, TILE, SHARED_BYTES, SCRATCH_BYTES, PADDING,
// MOST_CLASSES_SHARED (with more, the last layer is read from device memory) and LOSS_<name> for every loss. Their values, and the
// counterparts of Arguments and Member, are in geometry.py.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define DEVICE __device__ __forceinline__

// ---- the network's sizes; P: pooled pixels, after the first and the second pooling
constexpr int PIXELS_WIDE = WIDTH + WIDTH % 2;  // a row in shared memory, even so that two pixels can be read at once
constexpr int PIXELS = HEIGHT * PIXELS_WIDE;
constexpr int P1_HIGH = (HEIGHT - 2) / 2, P1_WIDE = (WIDTH - 2) / 2, P1 = P1_HIGH * P1_WIDE;
constexpr int P2_HIGH = (P1_HIGH - 2) / 2, P2_WIDE = (P1_WIDE - 2) / 2, P2 = P2_HIGH * P2_WIDE;
constexpr int FEATURES = 8 * P2;
constexpr int HIDDEN = 32;

// ---- where a member's weights begin in its row, in PyTorch's order
constexpr int CONV1 = 0, CONV1_BIAS = 108, CONV2 = 112, CONV2_BIAS = 400, FC1 = 408;
constexpr int FC1_BIAS = FC1 + HIDDEN * FEATURES, FC2 = FC1_BIAS + HIDDEN, FC2_BIAS = FC2 + CLASSES * HIDDEN;
static_assert(FC2_BIAS + CLASSES == WEIGHTS, "the weights are not those of the ConvNet");

// ---- how threads share the work
constexpr int WARPS = THREADS / 32;
constexpr int SLOTS = THREADS / 4;                        // threads that add up one channel's gradient of the first convolution
constexpr int SLICES = 3;                                 // threads that add up one row of a kernel of the second convolution
constexpr int CONV1_SUMS = 28;                            // of a channel: 27 weights and the bias
constexpr int FC2_ROW = HIDDEN + 1;                       // of the last layer's weights in shared memory: no two classes in one bank
constexpr int PARTS = WARPS * TILE * HIDDEN > 288 * SLICES ? WARPS * TILE * HIDDEN : 288 * SLICES;
static_assert(THREADS % 128 == 0 || THREADS == 288, "threads come in warps, and four channels share them");

constexpr int MASKED = 15;  // in the place of the winner of a first pooling that ReLU has set to zero

#if HEIGHT > 512 || WIDTH > 512
typedef u32 Place;  // of a winner among the pooled pixels of the first convolution: row and column
constexpr int ROW_SHIFT = 16;
#else
typedef u16 Place;
constexpr int ROW_SHIFT = 8;
#endif
constexpr Place NOWHERE = (Place)-1;
constexpr int COLUMN = (1 << ROW_SHIFT) - 1;

struct Member {
  int stream;      // the row of order and corners that it reads
  int batch_size;  // 0: the slot is empty
  int loss;
  float parameter;  // of its loss
  float divisor;    // of its loss: 1, or the number of classes
  float learning_rate, momentum, weight_decay;
};

struct Arguments {
  float* weights;          // [slot, WEIGHTS]
  float* velocity;         // [slot, WEIGHTS]
  float* fc1_turned;       // [slot, FEATURES, HIDDEN]: the first linear layer's weights, as forward reads them
  float* partial;          // [slot, tile, WEIGHTS]: gradients of the tiles of a batch
  float2* tile_figures;    // [slot, tile]: sum of the losses, and images that were right
  double* figures;         // [slot, 2]: the same of the epoch so far
  float* logits;           // [slot, image, CLASSES], of an evaluation
  u8* scratch;             // [slot, tile, SCRATCH_BYTES]: memory of a tile that is too large for shared memory
  const Member* members;   // [slot]
  const u32* pixels;       // [image, HEIGHT, WIDTH]: red, green and blue in the three low bytes
  const int* labels;       // [image]
  const int* order;        // [stream, place in the epoch]: an image
  const int* corners;      // [stream, place in the epoch]: row | column << 4 | mirrored << 8; null: images as they are
  float scale[3], shift[3];  // a byte b of channel c stands for b * scale[c] + shift[c]
  int n_images;            // of a stream
  int n_tiles;             // that partial, tile_figures and scratch have room for
};

// What a block keeps of its images
struct Images {
  union {
    struct {
      float p1[TILE * 4 * P1];  // pooled activations of the first convolution; later their gradients
      float features[TILE * FEATURES];  // of the second; later their gradients
      u32 pixels[TILE * PIXELS];
    };
    float sums[4 * CONV1_SUMS * SLOTS];  // of the first convolution's gradient, when all else is done
  };
  float feature_sums[FEATURES];
  Place places[TILE * FEATURES];  // of the winners; NOWHERE where ReLU has set them to zero
  u16 winners[TILE * P1];         // of the first pooling, 4 bits a channel
};

// What a block keeps besides, always in shared memory
struct Shared {
  float4 w1[27];       // [channel, row, column] -> four outputs, times the scale of the pixels
  float4 w2[36][2];    // [input, row, column] -> eight outputs
  float4 w2_back[72];  // [output, row, column] -> four inputs
  float b1[4], b2[8], fc1_bias[HIDDEN];
  float hidden[TILE * HIDDEN];
  float hidden_gradient[HIDDEN * TILE];  // [unit, image]
  float part[PARTS];                     // sums of which several threads have a part
  float logits[TILE * CLASSES];
  float logit_gradient[TILE * CLASSES];
  float loss[TILE], right[TILE];
  float fc2_bias[CLASSES];
#if CLASSES <= MOST_CLASSES_SHARED
  float fc2[CLASSES * FC2_ROW];
#endif
};

#if SCRATCH_BYTES
static_assert(sizeof(Images) <= SCRATCH_BYTES && sizeof(Shared) == SHARED_BYTES, "geometry.py computes other sizes");
#else
struct Both { Shared shared; Images images; };
static_assert(sizeof(Both) == SHARED_BYTES, "geometry.py computes another size");
#endif

extern __shared__ __align__(16) u8 shared_memory[];

DEVICE Shared& shared_part() { return *(Shared*)shared_memory; }

DEVICE Images& images_part(const Arguments& a, int slot, int tile) {
#if SCRATCH_BYTES
  return *(Images*)(a.scratch + ((long long)slot * a.n_tiles + tile) * SCRATCH_BYTES);
#else
  return ((Both*)shared_memory)->images;
#endif
}

DEVICE float fc2_weight(const Shared& s, const float* w, int c, int j) {
#if CLASSES <= MOST_CLASSES_SHARED
  return s.fc2[c * FC2_ROW + j];
#else
  return w[FC2 + c * HIDDEN + j];
#endif
}

// ---- losses: value for one image, and gradient g with respect to its logits z; the formulas of losses.py
DEVICE float loss_and_gradient(int loss, float parameter, const float* z, int label, float* g) {
  float value = 0;
  if (loss == LOSS_l1) {
    for (int c = 0; c < CLASSES; c++) {
      float d = z[c] - (c == label ? 1.0f : 0.0f);
      value += fabsf(d);
      g[c] = d > 0 ? 1.0f : d < 0 ? -1.0f : d;  // NaN stays NaN
    }
    return value;
  }
  float high = z[0], sum = 0;
  for (int c = 1; c < CLASSES; c++) high = z[c] > high ? z[c] : high;
  for (int c = 0; c < CLASSES; c++) sum += expf(z[c] - high);
  float log_sum = high + logf(sum), nll = log_sum - z[label];
  float p = expf(-nll), rest = -expm1f(-nll), slope = 1;
  for (int c = 0; c < CLASSES; c++) g[c] = expf(z[c] - log_sum);  // the softmax, for now
  if (loss == LOSS_mse) {
    float mean_error = 0;
    for (int c = 0; c < CLASSES; c++) {
      float error = g[c] - (c == label ? 1.0f : 0.0f);
      value += error * error;
      mean_error += error * g[c];
    }
    for (int c = 0; c < CLASSES; c++) g[c] = 2 * g[c] * (g[c] - (c == label ? 1.0f : 0.0f) - mean_error);
    return value;
  }
  if (loss == LOSS_label_smoothing) {
    float mean_log_p = 0;
    for (int c = 0; c < CLASSES; c++) mean_log_p += z[c] - log_sum;
    mean_log_p /= CLASSES;
    for (int c = 0; c < CLASSES; c++) {
      float onehot = c == label ? 1.0f : 0.0f;
      g[c] = g[c] - onehot + parameter * (onehot - 1.0f / CLASSES);
    }
    return (1 - parameter) * nll - parameter * mean_log_p;
  }
  value = nll;  // cross-entropy
  if (loss == LOSS_focal) {
    float weight = powf(rest, parameter);
    value = weight * nll;
    slope = weight * (1 + parameter * p * (rest > 0 ? nll / rest : 1.0f));
  } else if (loss == LOSS_mae) {
    value = 2 * rest;
    slope = 2 * p;
  } else if (loss == LOSS_generalized_cross_entropy && parameter >= 1e-30f) {
    value = -expm1f(-parameter * nll) / parameter;
    slope = expf(-parameter * nll);
  } else if (loss == LOSS_poly1) {
    value = nll + parameter * rest;
    slope = 1 + parameter * p;
  }
  for (int c = 0; c < CLASSES; c++) g[c] = slope * (g[c] - (c == label ? 1.0f : 0.0f));
  return value;
}

// ---- forward: what both kernels begin with

DEVICE void load_weights(const Arguments& a, const float* w, Shared& s) {
  const int t0 = threadIdx.x;
  for (int t = t0; t < 27; t += THREADS) {
    float scale = a.scale[t / 9];
    s.w1[t] = make_float4(w[t] * scale, w[27 + t] * scale, w[54 + t] * scale, w[81 + t] * scale);
  }
  for (int t = t0; t < 288; t += THREADS) {
    int o = t / 36, r = t - o * 36, i = r / 9, k = r - i * 9;
    float v = w[CONV2 + t];
    ((float*)s.w2)[r * 8 + o] = v;
    ((float*)s.w2_back)[(o * 9 + k) * 4 + i] = v;
  }
  for (int t = t0; t < 4; t += THREADS) {
    float b = w[CONV1_BIAS + t];
    for (int i = 0; i < 27; i++) b += w[t * 27 + i] * a.shift[i / 9];
    s.b1[t] = b;
  }
  for (int t = t0; t < 8; t += THREADS) s.b2[t] = w[CONV2_BIAS + t];
  for (int t = t0; t < HIDDEN; t += THREADS) s.fc1_bias[t] = w[FC1_BIAS + t];
  for (int t = t0; t < CLASSES; t += THREADS) s.fc2_bias[t] = w[FC2_BIAS + t];
#if CLASSES <= MOST_CLASSES_SHARED
  for (int t = t0; t < CLASSES * HIDDEN; t += THREADS) s.fc2[t / HIDDEN * FC2_ROW + t % HIDDEN] = w[FC2 + t];
#endif
}

// Images first ... first + count of a stream, cropped and mirrored; beyond them black
DEVICE void load_pixels(const Arguments& a, int stream, int first, int count, Images& m) {
  const long long row = (long long)stream * a.n_images + first;
  for (int t = threadIdx.x; t < TILE * HEIGHT * WIDTH; t += THREADS) {
    int image = t / (HEIGHT * WIDTH), r = t - image * (HEIGHT * WIDTH), y = r / WIDTH, x = r - y * WIDTH;
    u32 pixel = 0;
    if (image < count) {
      int from_y = y, from_x = x;
      if (a.corners) {
        int corner = a.corners[row + image];
        from_y = y + (corner & 15) - PADDING;
        from_x = (corner >> 8 & 1 ? WIDTH - 1 - x : x) + (corner >> 4 & 15) - PADDING;
      }
      if (from_y >= 0 && from_y < HEIGHT && from_x >= 0 && from_x < WIDTH)
        pixel = a.pixels[((long long)a.order[row + image] * HEIGHT + from_y) * WIDTH + from_x];
    }
    m.pixels[image * PIXELS + y * PIXELS_WIDE + x] = pixel;
  }
}

// Adds what weight k of a 3 x 3 kernel makes of the 4 x 4 inputs v to the four pixels of a pooling window, for four channels
DEVICE void add_products(float (&out)[4][4], const float (&v)[4][4], int k, float4 weight) {
#pragma unroll
  for (int p = 0; p < 4; p++) {
    float x = v[p / 2 + k / 3][p % 2 + k % 3];
    out[p][0] += x * weight.x; out[p][1] += x * weight.y; out[p][2] += x * weight.z; out[p][3] += x * weight.w;
  }
}

// Which pixel of a pooling window is the greatest in channel o, the first of equals, and what it is; NaN wins
DEVICE int winner_of(const float (&out)[4][4], int o, float& best) {
  int winner = 0;
  best = out[0][o];
#pragma unroll
  for (int p = 1; p < 4; p++)
    if (out[p][o] > best || out[p][o] != out[p][o]) { best = out[p][o]; winner = p; }
  return winner;
}

// Four channels of one pooled pixel a thread
DEVICE void first_convolution(const Shared& s, Images& m) {
  for (int t = threadIdx.x; t < TILE * P1; t += THREADS) {
    int image = t / P1, place = t - image * P1, py = place / P1_WIDE, px = place - py * P1_WIDE;
    const u32* corner = m.pixels + image * PIXELS + 2 * py * PIXELS_WIDE + 2 * px;
    u32 seen[4][4];
    float out[4][4];  // [pixel of the window][channel]
#pragma unroll
    for (int r = 0; r < 4; r++) {
      uint2 left = *(const uint2*)(corner + r * PIXELS_WIDE), right = *(const uint2*)(corner + r * PIXELS_WIDE + 2);
      seen[r][0] = left.x; seen[r][1] = left.y; seen[r][2] = right.x; seen[r][3] = right.y;
    }
#pragma unroll
    for (int p = 0; p < 4; p++)
#pragma unroll
      for (int o = 0; o < 4; o++) out[p][o] = s.b1[o];
#pragma unroll
    for (int c = 0; c < 3; c++) {
      float v[4][4];
#pragma unroll
      for (int r = 0; r < 4; r++)
#pragma unroll
        for (int k = 0; k < 4; k++) v[r][k] = (float)(seen[r][k] >> 8 * c & 255u);
#pragma unroll
      for (int k = 0; k < 9; k++) add_products(out, v, k, s.w1[c * 9 + k]);
    }
    u32 winners = 0;
#pragma unroll
    for (int o = 0; o < 4; o++) {
      float best;
      int winner = winner_of(out, o, best);
      bool off = best <= 0;
      m.p1[(image * 4 + o) * P1 + place] = off ? 0.0f : best;
      winners |= (u32)(off ? MASKED : winner) << 4 * o;
    }
    m.winners[t] = (u16)winners;
  }
}

// Four of eight channels of one pooled pixel a thread
DEVICE void second_convolution(const Shared& s, Images& m) {
  for (int t = threadIdx.x; t < TILE * 2 * P2; t += THREADS) {
    int image = t / (2 * P2), r = t - image * 2 * P2, half = r / P2, place = r - half * P2, py = place / P2_WIDE, px = place - py * P2_WIDE;
    const float* corner = m.p1 + image * 4 * P1 + 2 * py * P1_WIDE + 2 * px;
    float out[4][4];
#pragma unroll
    for (int p = 0; p < 4; p++)
#pragma unroll
      for (int o = 0; o < 4; o++) out[p][o] = s.b2[half * 4 + o];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float v[4][4];
#pragma unroll
      for (int y = 0; y < 4; y++)
#pragma unroll
        for (int x = 0; x < 4; x++) v[y][x] = corner[i * P1 + y * P1_WIDE + x];
#pragma unroll
      for (int k = 0; k < 9; k++) add_products(out, v, k, s.w2[i * 9 + k][half]);
    }
#pragma unroll
    for (int o = 0; o < 4; o++) {
      float best;
      int winner = winner_of(out, o, best);
      bool off = best <= 0;
      int feature = image * FEATURES + (half * 4 + o) * P2 + place;
      m.features[feature] = off ? 0.0f : best;
      m.places[feature] = off ? NOWHERE : (Place)(2 * py + winner / 2 << ROW_SHIFT | 2 * px + winner % 2);
    }
  }
}

// One hidden unit a lane, all images; each warp has a part of the features
DEVICE void first_linear(const float* turned, Shared& s, const Images& m) {
  constexpr int SHARE = (FEATURES / 4 + WARPS - 1) / WARPS * 4;
  const int warp = threadIdx.x / 32, j = threadIdx.x % 32;
  float sum[TILE];
#pragma unroll
  for (int i = 0; i < TILE; i++) sum[i] = 0;
  const int end = min(FEATURES, (warp + 1) * SHARE);
  for (int k = warp * SHARE; k < end; k += 4) {
    float w0 = turned[k * HIDDEN + j], w1 = turned[(k + 1) * HIDDEN + j], w2 = turned[(k + 2) * HIDDEN + j], w3 = turned[(k + 3) * HIDDEN + j];
#pragma unroll
    for (int i = 0; i < TILE; i++) {
      float4 f = *(const float4*)(m.features + i * FEATURES + k);
      sum[i] += f.x * w0; sum[i] += f.y * w1; sum[i] += f.z * w2; sum[i] += f.w * w3;
    }
  }
#pragma unroll
  for (int i = 0; i < TILE; i++) s.part[(warp * TILE + i) * HIDDEN + j] = sum[i];
  __syncthreads();
  for (int t = threadIdx.x; t < TILE * HIDDEN; t += THREADS) {
    float all = s.fc1_bias[t % HIDDEN];
#pragma unroll
    for (int part = 0; part < WARPS; part++) all += s.part[part * TILE * HIDDEN + t];
    s.hidden[t] = all <= 0 ? 0.0f : all;
  }
}

DEVICE void second_linear(const float* w, Shared& s) {
  for (int t = threadIdx.x; t < TILE * CLASSES; t += THREADS) {
    int image = t / CLASSES, c = t - image * CLASSES;
    float sum = s.fc2_bias[c];
#pragma unroll 8
    for (int j = 0; j < HIDDEN; j++) sum += s.hidden[image * HIDDEN + j] * fc2_weight(s, w, c, j);
    s.logits[t] = sum;
  }
}

// The logits of images first ... first + count of a stream; all threads see them afterwards
DEVICE void forward(const Arguments& a, int slot, int stream, int first, int count, Shared& s, Images& m) {
  const float* w = a.weights + (long long)slot * WEIGHTS;
  load_weights(a, w, s);
  load_pixels(a, stream, first, count, m);
  __syncthreads();
  first_convolution(s, m);
  __syncthreads();
  second_convolution(s, m);
  __syncthreads();
  first_linear(a.fc1_turned + (long long)slot * FEATURES * HIDDEN, s, m);
  __syncthreads();
  second_linear(w, s);
  __syncthreads();
}

// ---- backward, each part from the gradient that the one before it left

// Loss and gradient of each image's logits; images beyond count teach nothing. The sums of the tile go to *figures
DEVICE void losses(const Arguments& a, const Member& member, long long row, int count, int batch, Shared& s) {
  for (int i = threadIdx.x; i < TILE; i += THREADS) {
    float* g = s.logit_gradient + i * CLASSES;
    const float* z = s.logits + i * CLASSES;
    s.loss[i] = s.right[i] = 0;
    if (i >= count) {
      for (int c = 0; c < CLASSES; c++) g[c] = 0;
      continue;
    }
    int label = a.labels[a.order[row + i]], top = 0;
    s.loss[i] = loss_and_gradient(member.loss, member.parameter, z, label, g) / member.divisor;
    float divisor = member.divisor * batch;
    for (int c = 0; c < CLASSES; c++) {
      g[c] /= divisor;
      if (z[c] > z[top] || (z[c] != z[c] && z[top] == z[top])) top = c;  // NaN is the highest, as PyTorch has it
    }
    s.right[i] = top == label;
  }
}

DEVICE void second_linear_backward(const float* w, Shared& s, float* gradient) {
  for (int t = threadIdx.x; t < CLASSES * HIDDEN; t += THREADS) {
    int c = t / HIDDEN, j = t - c * HIDDEN;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < TILE; i++) sum += s.logit_gradient[i * CLASSES + c] * s.hidden[i * HIDDEN + j];
    gradient[FC2 + t] = sum;
  }
  for (int t = threadIdx.x; t < CLASSES; t += THREADS) {
    float sum = 0;
    for (int i = 0; i < TILE; i++) sum += s.logit_gradient[i * CLASSES + t];
    gradient[FC2_BIAS + t] = sum;
  }
  for (int t = threadIdx.x; t < TILE * HIDDEN; t += THREADS) {
    int image = t / HIDDEN, j = t - image * HIDDEN;
    float sum = 0;
#pragma unroll 10
    for (int c = 0; c < CLASSES; c++) sum += s.logit_gradient[image * CLASSES + c] * fc2_weight(s, w, c, j);
    s.hidden_gradient[j * TILE + image] = s.hidden[t] <= 0 ? 0.0f : sum;
  }
}

// One feature of all images a thread
DEVICE void first_linear_backward(const float* w, const Shared& s, Images& m, float* gradient) {
  for (int k = threadIdx.x; k < FEATURES; k += THREADS) {
    float feature[TILE], of_feature[TILE];
#pragma unroll
    for (int i = 0; i < TILE; i++) { feature[i] = m.features[i * FEATURES + k]; of_feature[i] = 0; }
#pragma unroll 4
    for (int j = 0; j < HIDDEN; j++) {
      float v = w[FC1 + j * FEATURES + k], sum = 0;
#pragma unroll
      for (int i = 0; i < TILE; i++) {
        float g = s.hidden_gradient[j * TILE + i];
        sum += feature[i] * g;
        of_feature[i] += g * v;
      }
      gradient[FC1 + j * FEATURES + k] = sum;
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < TILE; i++) {
      bool off = m.places[i * FEATURES + k] == NOWHERE;
      float g = off ? 0.0f : of_feature[i];
      m.features[i * FEATURES + k] = g;
      if (off) m.places[i * FEATURES + k] = 0;  // a place like any other, for a gradient of zero
      sum += g;
    }
    m.feature_sums[k] = sum;
  }
  for (int j = threadIdx.x; j < HIDDEN; j += THREADS) {
    float sum = 0;
    for (int i = 0; i < TILE; i++) sum += s.hidden_gradient[j * TILE + i];
    gradient[FC1_BIAS + j] = sum;
  }
}

// One row of one kernel and a third of the winners a thread, then their sums
DEVICE void second_convolution_weights(Shared& s, const Images& m, float* gradient) {
  constexpr int SHARE = (P2 + SLICES - 1) / SLICES;
  for (int t = threadIdx.x; t < 96 * SLICES; t += THREADS) {
    int slice = t / 96, r = t - slice * 96, o = r / 12, i = r / 3 % 4, ky = r % 3;
    float a = 0, b = 0, c = 0;
    const int end = min(P2, (slice + 1) * SHARE);
    for (int image = 0; image < TILE; image++) {
      const float* plane = m.p1 + (image * 4 + i) * P1 + ky * P1_WIDE;
#pragma unroll 4
      for (int p = slice * SHARE; p < end; p++) {
        int n = image * FEATURES + o * P2 + p, place = m.places[n];
        float g = m.features[n];
        const float* x = plane + (place >> ROW_SHIFT) * P1_WIDE + (place & COLUMN);
        a += g * x[0]; b += g * x[1]; c += g * x[2];
      }
    }
    s.part[t * 3] = a; s.part[t * 3 + 1] = b; s.part[t * 3 + 2] = c;
  }
  __syncthreads();
  for (int t = threadIdx.x; t < 288; t += THREADS) gradient[CONV2 + t] = s.part[t] + s.part[288 + t] + s.part[576 + t];
  for (int o = threadIdx.x; o < 8; o += THREADS) {
    float sum = 0;
    for (int p = 0; p < P2; p++) sum += m.feature_sums[o * P2 + p];
    gradient[CONV2_BIAS + o] = sum;
  }
}

// One pooled pixel of the first convolution a thread: which winners have seen it
DEVICE void second_convolution_inputs(const Shared& s, Images& m) {
  for (int t = threadIdx.x; t < TILE * P1; t += THREADS) {
    int image = t / P1, place = t - image * P1, y = place / P1_WIDE, x = place - y * P1_WIDE;
    float a = 0, b = 0, c = 0, d = 0;
#pragma unroll
    for (int v = 0; v < 2; v++) {
      int window_y = y / 2 - v;
      if (window_y < 0 || window_y >= P2_HIGH) continue;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        int window_x = x / 2 - h;
        if (window_x < 0 || window_x >= P2_WIDE) continue;
        int n = image * FEATURES + window_y * P2_WIDE + window_x;
#pragma unroll
        for (int o = 0; o < 8; o++) {
          int winner = m.places[n + o * P2], dy = y - (winner >> ROW_SHIFT), dx = x - (winner & COLUMN);
          if (dy >= 0 && dy < 3 && dx >= 0 && dx < 3) {
            float g = m.features[n + o * P2];
            float4 f = s.w2_back[o * 9 + dy * 3 + dx];
            a += g * f.x; b += g * f.y; c += g * f.z; d += g * f.w;
          }
        }
      }
    }
    int winners = m.winners[t];
    float* to = m.p1 + image * 4 * P1 + place;
    to[0] = (winners & 15) == MASKED ? 0.0f : a;
    to[P1] = (winners >> 4 & 15) == MASKED ? 0.0f : b;
    to[2 * P1] = (winners >> 8 & 15) == MASKED ? 0.0f : c;
    to[3 * P1] = (winners >> 12 & 15) == MASKED ? 0.0f : d;
  }
}

// A share of one channel's winners a thread, then their sums
DEVICE void first_convolution_weights(const Arguments& a, Shared& s, Images& m, float* gradient) {
  const int o = threadIdx.x / SLOTS, slot = threadIdx.x - o * SLOTS;
  float sum[CONV1_SUMS];
#pragma unroll
  for (int i = 0; i < CONV1_SUMS; i++) sum[i] = 0;
  for (int t = slot; t < TILE * P1; t += SLOTS) {
    int winner = m.winners[t] >> 4 * o & 15;
    if (winner == MASKED) continue;
    int image = t / P1, place = t - image * P1, py = place / P1_WIDE, px = place - py * P1_WIDE;
    float g = m.p1[(image * 4 + o) * P1 + place];
    const u32* corner = m.pixels + image * PIXELS + (2 * py + winner / 2) * PIXELS_WIDE + 2 * px + winner % 2;
    sum[27] += g;
#pragma unroll
    for (int k = 0; k < 9; k++) {
      u32 v = corner[k / 3 * PIXELS_WIDE + k % 3];
      sum[k] += g * (float)(v & 255u);
      sum[9 + k] += g * (float)(v >> 8 & 255u);
      sum[18 + k] += g * (float)(v >> 16 & 255u);
    }
  }
  __syncthreads();  // the sums go where gradients and pixels were
#pragma unroll
  for (int i = 0; i < CONV1_SUMS; i++) m.sums[(o * CONV1_SUMS + i) * SLOTS + slot] = sum[i];
  __syncthreads();
  for (int t = threadIdx.x; t < 4 * CONV1_SUMS; t += THREADS) {
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma unroll 6
    for (int k = 0; k < SLOTS; k += 4) {
      float4 v = *(const float4*)(m.sums + t * SLOTS + k);
      s0 += v.x; s1 += v.y; s2 += v.z; s3 += v.w;
    }
    s.part[t] = (s0 + s1) + (s2 + s3);
  }
  __syncthreads();
  for (int t = threadIdx.x; t < 4 * CONV1_SUMS; t += THREADS) {
    int channel = t / CONV1_SUMS, i = t - channel * CONV1_SUMS;
    float bias = s.part[channel * CONV1_SUMS + 27];
    if (i == 27) gradient[CONV1_BIAS + channel] = bias;
    else gradient[CONV1 + channel * 27 + i] = a.scale[i / 9] * s.part[t] + a.shift[i / 9] * bias;
  }
}

// ---- kernels

// Images of a member's batch at a step; 0 where its epoch has ended, or the slot is empty
DEVICE int images_of_step(const Arguments& a, const Member& member, int step) {
  return max(0, min(member.batch_size, a.n_images - step * member.batch_size));
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) train(const Arguments a, const int step) {
  const int tile = blockIdx.x, slot = blockIdx.y;
  const Member member = a.members[slot];
  const int batch = images_of_step(a, member, step), count = min(TILE, batch - tile * TILE);
  if (count <= 0) return;
  Shared& s = shared_part();
  Images& m = images_part(a, slot, tile);
  const float* w = a.weights + (long long)slot * WEIGHTS;
  const long long at = (long long)slot * a.n_tiles + tile;
  float* gradient = a.partial + at * WEIGHTS;
  const int first = step * member.batch_size + tile * TILE;

  forward(a, slot, member.stream, first, count, s, m);
  losses(a, member, (long long)member.stream * a.n_images + first, count, batch, s);
  __syncthreads();
  if (threadIdx.x == 0) {
    float loss = 0, right = 0;
    for (int i = 0; i < TILE; i++) { loss += s.loss[i]; right += s.right[i]; }
    a.tile_figures[at] = make_float2(loss, right);
  }
  second_linear_backward(w, s, gradient);
  __syncthreads();
  first_linear_backward(w, s, m, gradient);
  __syncthreads();
  second_convolution_weights(s, m, gradient);  // its last barrier comes after the last look at what the next line overwrites
  second_convolution_inputs(s, m);
  __syncthreads();
  first_convolution_weights(a, s, m, gradient);
}

// Blocks of 256 threads, of which the first FEATURES / 8 have eight features of all hidden units, and the others the rest in its order
extern "C" __global__ void __launch_bounds__(256) update(const Arguments a, const int step) {
  const int piece = blockIdx.x, slot = blockIdx.y, t = threadIdx.x;
  const Member member = a.members[slot];
  const int batch = images_of_step(a, member, step), used = (batch + TILE - 1) / TILE;
  if (!used) return;
  const bool turns = piece < FEATURES / 8;
  int i = turns ? FC1 + t / 8 * FEATURES + piece * 8 + t % 8 : (piece - FEATURES / 8) * 256 + t;
  if (!turns && i >= FC1) i += HIDDEN * FEATURES;
  float* turned = (float*)shared_memory;  // [unit, 8 features], a row longer than needed: no two units in one bank
  if (i < WEIGHTS) {
    const float* part = a.partial + (long long)slot * a.n_tiles * WEIGHTS + i;
    float g = 0;
#pragma unroll 8
    for (int tile = 0; tile < used; tile++) g += part[(long long)tile * WEIGHTS];
    const long long at = (long long)slot * WEIGHTS + i;
    float w = a.weights[at], v = a.velocity[at] * member.momentum + g + member.weight_decay * w;
    w -= member.learning_rate * v;
    a.velocity[at] = v;
    a.weights[at] = w;
    if (turns) turned[t / 8 * 9 + t % 8] = w;
  }
  __syncthreads();
  if (turns) a.fc1_turned[((long long)slot * FEATURES + piece * 8 + t / 32) * HIDDEN + t % 32] = turned[t % 32 * 9 + t / 32];
  if (piece == 0 && t == 0) {
    double loss = 0, right = 0;
    for (int tile = 0; tile < used; tile++) {
      float2 of_tile = a.tile_figures[(long long)slot * a.n_tiles + tile];
      loss += of_tile.x;
      right += of_tile.y;
    }
    double* figures = a.figures + 2 * slot;
    figures[0] = (step ? figures[0] : 0.0) + loss;
    figures[1] = (step ? figures[1] : 0.0) + right;
  }
}

// step counts launches: each evaluates n_tiles tiles of every member
extern "C" __global__ void __launch_bounds__(THREADS, 2) evaluate(const Arguments a, const int step) {
  const int slot = blockIdx.y, first = (step * a.n_tiles + blockIdx.x) * TILE;
  const Member member = a.members[slot];
  const int count = min(TILE, a.n_images - first);
  if (!member.batch_size || count <= 0) return;
  Shared& s = shared_part();
  forward(a, slot, member.stream, first, count, s, images_part(a, slot, blockIdx.x));
  float* to = a.logits + ((long long)slot * a.n_images + first) * CLASSES;
  for (int t = threadIdx.x; t < count * CLASSES; t += THREADS) to[t] = s.logits[t];
}
