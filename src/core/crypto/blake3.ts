/**
 * # BLAKE3, plain and keyed, for short inputs
 *
 * Transcripts of a few hundred bytes are hashed whole, several times per handshake: what counts is the cost of one short keyed hash, not the rate
 * over megabytes. So there is no incremental state: a call takes all bytes at once, and a single chunk (1,024 bytes) is a plain loop over its blocks.
 * Longer inputs go through the binary tree of chunks by recursion. (BLAKE3 specification, 2.1 to 2.6.)
 *
 * ```text
 * input -> chunks of 1,024 -> blocks of 64 -> compress -> chaining value -> parents ... -> root -> output blocks 0, 1, 2 ... of 64 bytes
 * ```
 *
 * Not constant in memory access where it need not be: nothing depends on secret bytes, only on lengths.
 */
const BLOCK_BYTES = 64
const CHUNK_BYTES = 1024
export const BLAKE3_KEY_BYTES = 32

const CHUNK_START = 1
const CHUNK_END = 2
const PARENT = 4
const ROOT = 8
const KEYED_HASH = 16

const IV = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19)

/** The message word of each of the 16 places in each of the 7 rounds: the permutation of section 2.2 applied again and again. */
const SCHEDULE = schedule([2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8])

/** Scratch of the running call; holds words of the input, so it is zeroed before a call returns. */
const words = new Int32Array(16)
const state = new Int32Array(16)
const keyWords = new Int32Array(8)

function schedule(permutation: readonly number[]): Uint8Array {
  const out = new Uint8Array(7 * 16)
  let round = permutation.map((_, place) => place)
  for (let i = 0; i < 7; i++) {
    out.set(round, 16 * i)
    round = permutation.map((from) => round[from] as number)
  }
  return out
}

export interface Blake3Options {
  /** 32 bytes: keyed mode. */
  key?: Uint8Array
  /** Bytes of output, 32 unless told. */
  length?: number
}

/** BLAKE3 of `input`. @throws TypeError for a key that is not 32 bytes. */
export function blake3(input: Uint8Array, options: Blake3Options = {}): Uint8Array {
  const out = new Uint8Array(options.length ?? 32)
  blake3Into(out, input, input.length, options.key)
  return out
}

/** Fills `out` with the hash of `input[0, length)`; any length of output, the first 32 bytes are the plain hash. */
export function blake3Into(out: Uint8Array, input: Uint8Array, length: number, key?: Uint8Array): void {
  if (key !== undefined && key.length !== BLAKE3_KEY_BYTES) throw new TypeError(`a BLAKE3 key has ${BLAKE3_KEY_BYTES} bytes, not ${key.length}`)
  const start = key === undefined ? IV : keyWords
  if (key !== undefined) loadWords(keyWords, key, 0, BLAKE3_KEY_BYTES)
  const mode = key === undefined ? 0 : KEYED_HASH
  if (length <= CHUNK_BYTES) {
    const cv = Int32Array.from(start)
    const last = chunkUpToLast(cv, input, 0, length, 0, mode)
    writeRoot(out, cv, last.blockBytes, last.flags | ROOT)
    cv.fill(0)
  } else {
    const children = new Int32Array(16)
    subtreeChildren(children, input, 0, length, 0, start, mode)
    words.set(children)
    children.fill(0)
    writeRoot(out, start, BLOCK_BYTES, mode | PARENT | ROOT)
  }
  words.fill(0)
  state.fill(0)
  keyWords.fill(0)
}

/** Compresses all blocks of a chunk but the last, which is left in `words`. */
function chunkUpToLast(cv: Int32Array, input: Uint8Array, at: number, length: number, chunk: number, mode: number): { blockBytes: number; flags: number } {
  let left = length
  let from = at
  let flags = mode | CHUNK_START
  while (left > BLOCK_BYTES) {
    loadWords(words, input, from, BLOCK_BYTES)
    compress(cv, chunk, BLOCK_BYTES, flags)
    feedForward(cv)
    from += BLOCK_BYTES
    left -= BLOCK_BYTES
    flags = mode
  }
  loadWords(words, input, from, left)
  return { blockBytes: left, flags: flags | CHUNK_END }
}

/** The two chaining values under the node that covers `input[at, at + length)`, which is more than one chunk. */
function subtreeChildren(out: Int32Array, input: Uint8Array, at: number, length: number, chunk: number, start: Int32Array, mode: number): void {
  let leftChunks = 1
  while (leftChunks * 2 * CHUNK_BYTES < length) leftChunks *= 2
  const leftBytes = leftChunks * CHUNK_BYTES
  const left = subtree(input, at, leftBytes, chunk, start, mode)
  const right = subtree(input, at + leftBytes, length - leftBytes, chunk + leftChunks, start, mode)
  out.set(left, 0)
  out.set(right, 8)
}

function subtree(input: Uint8Array, at: number, length: number, chunk: number, start: Int32Array, mode: number): Int32Array {
  const cv = Int32Array.from(start)
  if (length <= CHUNK_BYTES) {
    const last = chunkUpToLast(cv, input, at, length, chunk, mode)
    compress(cv, chunk, last.blockBytes, last.flags)
  } else {
    const children = new Int32Array(16)
    subtreeChildren(children, input, at, length, chunk, start, mode)
    words.set(children)
    compress(cv, 0, BLOCK_BYTES, mode | PARENT)
  }
  feedForward(cv)
  return cv
}

/** Output blocks of the root node, whose block is in `words`. */
function writeRoot(out: Uint8Array, cv: Int32Array, blockBytes: number, flags: number): void {
  for (let at = 0, block = 0; at < out.length; at += BLOCK_BYTES, block++) {
    compress(cv, block, blockBytes, flags)
    const end = Math.min(BLOCK_BYTES, out.length - at)
    for (let i = 0; i < end; i++) {
      const word = i >> 2
      const mixed = word < 8 ? (state[word] as number) ^ (state[word + 8] as number) : (state[word] as number) ^ (cv[word - 8] as number)
      out[at + i] = mixed >>> ((i & 3) * 8)
    }
  }
}

function feedForward(cv: Int32Array): void {
  for (let i = 0; i < 8; i++) cv[i] = (state[i] as number) ^ (state[i + 8] as number)
}

/** Little-endian words of `input[at, at + length)`, zero beyond. */
function loadWords(target: Int32Array, input: Uint8Array, at: number, length: number): void {
  const whole = length >> 2
  for (let i = 0, j = at; i < whole; i++, j += 4) {
    target[i] = (input[j] as number) | ((input[j + 1] as number) << 8) | ((input[j + 2] as number) << 16) | ((input[j + 3] as number) << 24)
  }
  if (whole === target.length) return
  target.fill(0, whole)
  for (let i = whole * 4; i < length; i++) target[whole] = (target[whole] as number) | ((input[at + i] as number) << ((i & 3) * 8))
}

/** Section 2.2: seven rounds over the 16-word state, which is left in `state` before the feed-forward. The counter is a safe integer. */
function compress(cv: Int32Array, counter: number, blockBytes: number, flags: number): void {
  let s0 = cv[0] as number
  let s1 = cv[1] as number
  let s2 = cv[2] as number
  let s3 = cv[3] as number
  let s4 = cv[4] as number
  let s5 = cv[5] as number
  let s6 = cv[6] as number
  let s7 = cv[7] as number
  let s8 = IV[0] as number
  let s9 = IV[1] as number
  let s10 = IV[2] as number
  let s11 = IV[3] as number
  let s12 = counter | 0
  let s13 = Math.floor(counter / 0x1_0000_0000) | 0
  let s14 = blockBytes
  let s15 = flags
  const m = words
  const order = SCHEDULE
  for (let r = 0; r < 112; r += 16) {
    // Columns.
    s0 = (s0 + s4 + (m[order[r] as number] as number)) | 0
    s12 ^= s0
    s12 = (s12 >>> 16) | (s12 << 16)
    s8 = (s8 + s12) | 0
    s4 ^= s8
    s4 = (s4 >>> 12) | (s4 << 20)
    s0 = (s0 + s4 + (m[order[r + 1] as number] as number)) | 0
    s12 ^= s0
    s12 = (s12 >>> 8) | (s12 << 24)
    s8 = (s8 + s12) | 0
    s4 ^= s8
    s4 = (s4 >>> 7) | (s4 << 25)
    s1 = (s1 + s5 + (m[order[r + 2] as number] as number)) | 0
    s13 ^= s1
    s13 = (s13 >>> 16) | (s13 << 16)
    s9 = (s9 + s13) | 0
    s5 ^= s9
    s5 = (s5 >>> 12) | (s5 << 20)
    s1 = (s1 + s5 + (m[order[r + 3] as number] as number)) | 0
    s13 ^= s1
    s13 = (s13 >>> 8) | (s13 << 24)
    s9 = (s9 + s13) | 0
    s5 ^= s9
    s5 = (s5 >>> 7) | (s5 << 25)
    s2 = (s2 + s6 + (m[order[r + 4] as number] as number)) | 0
    s14 ^= s2
    s14 = (s14 >>> 16) | (s14 << 16)
    s10 = (s10 + s14) | 0
    s6 ^= s10
    s6 = (s6 >>> 12) | (s6 << 20)
    s2 = (s2 + s6 + (m[order[r + 5] as number] as number)) | 0
    s14 ^= s2
    s14 = (s14 >>> 8) | (s14 << 24)
    s10 = (s10 + s14) | 0
    s6 ^= s10
    s6 = (s6 >>> 7) | (s6 << 25)
    s3 = (s3 + s7 + (m[order[r + 6] as number] as number)) | 0
    s15 ^= s3
    s15 = (s15 >>> 16) | (s15 << 16)
    s11 = (s11 + s15) | 0
    s7 ^= s11
    s7 = (s7 >>> 12) | (s7 << 20)
    s3 = (s3 + s7 + (m[order[r + 7] as number] as number)) | 0
    s15 ^= s3
    s15 = (s15 >>> 8) | (s15 << 24)
    s11 = (s11 + s15) | 0
    s7 ^= s11
    s7 = (s7 >>> 7) | (s7 << 25)
    // Diagonals.
    s0 = (s0 + s5 + (m[order[r + 8] as number] as number)) | 0
    s15 ^= s0
    s15 = (s15 >>> 16) | (s15 << 16)
    s10 = (s10 + s15) | 0
    s5 ^= s10
    s5 = (s5 >>> 12) | (s5 << 20)
    s0 = (s0 + s5 + (m[order[r + 9] as number] as number)) | 0
    s15 ^= s0
    s15 = (s15 >>> 8) | (s15 << 24)
    s10 = (s10 + s15) | 0
    s5 ^= s10
    s5 = (s5 >>> 7) | (s5 << 25)
    s1 = (s1 + s6 + (m[order[r + 10] as number] as number)) | 0
    s12 ^= s1
    s12 = (s12 >>> 16) | (s12 << 16)
    s11 = (s11 + s12) | 0
    s6 ^= s11
    s6 = (s6 >>> 12) | (s6 << 20)
    s1 = (s1 + s6 + (m[order[r + 11] as number] as number)) | 0
    s12 ^= s1
    s12 = (s12 >>> 8) | (s12 << 24)
    s11 = (s11 + s12) | 0
    s6 ^= s11
    s6 = (s6 >>> 7) | (s6 << 25)
    s2 = (s2 + s7 + (m[order[r + 12] as number] as number)) | 0
    s13 ^= s2
    s13 = (s13 >>> 16) | (s13 << 16)
    s8 = (s8 + s13) | 0
    s7 ^= s8
    s7 = (s7 >>> 12) | (s7 << 20)
    s2 = (s2 + s7 + (m[order[r + 13] as number] as number)) | 0
    s13 ^= s2
    s13 = (s13 >>> 8) | (s13 << 24)
    s8 = (s8 + s13) | 0
    s7 ^= s8
    s7 = (s7 >>> 7) | (s7 << 25)
    s3 = (s3 + s4 + (m[order[r + 14] as number] as number)) | 0
    s14 ^= s3
    s14 = (s14 >>> 16) | (s14 << 16)
    s9 = (s9 + s14) | 0
    s4 ^= s9
    s4 = (s4 >>> 12) | (s4 << 20)
    s3 = (s3 + s4 + (m[order[r + 15] as number] as number)) | 0
    s14 ^= s3
    s14 = (s14 >>> 8) | (s14 << 24)
    s9 = (s9 + s14) | 0
    s4 ^= s9
    s4 = (s4 >>> 7) | (s4 << 25)
  }
  state[0] = s0
  state[1] = s1
  state[2] = s2
  state[3] = s3
  state[4] = s4
  state[5] = s5
  state[6] = s6
  state[7] = s7
  state[8] = s8
  state[9] = s9
  state[10] = s10
  state[11] = s11
  state[12] = s12
  state[13] = s13
  state[14] = s14
  state[15] = s15
}
