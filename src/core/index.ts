// The public face of core/ for the other rooms' users: errors, keys and the interfaces that implementations take.
export { type PublicKey, type Signature, toHex } from './bytes.ts'
export { type Clock, type ManualClock, manualClock, systemClock, type Timer } from './clock.ts'
export {
  createSigner,
  isPublicKey,
  PUBLIC_KEY_BYTES,
  parsePublicKey,
  publicKeyOfSeed,
  randomSeed,
  SEED_BYTES,
  SIGNATURE_BYTES,
  verify,
} from './crypto/ed25519.ts'
export { type HybridKey, type HybridSignature, type HybridSigner, signHybrid, verifyHybrid } from './crypto/hybrid.ts'
export { hashLabeled, labeled, signLabeled, verifyLabeled } from './crypto/labels.ts'
export { createPostQuantumSigner, MLDSA_PUBLIC_KEY_BYTES, MLDSA_SIGNATURE_BYTES, verifyMldsa } from './crypto/mldsa.ts'
export { type Detail, type ErrorCode, isKithError, KithError, type KithErrorOptions } from './errors.ts'
export { createLogger, type LogFields, type Logger, type LoggerOptions, type LogLevel, silentLogger } from './observe/log.ts'
export {
  type Counter,
  createMetrics,
  type Gauge,
  type Histogram,
  type Labels,
  METRICS_CONTENT_TYPE,
  type MetricFamily,
  type Metrics,
  type MetricsRegistry,
  silentMetrics,
} from './observe/metrics.ts'
export { type Attributes, createTracer, type Span, type SpanRecord, silentTracer, type Tracer, type TracerOptions } from './observe/trace.ts'
export { type Random, seededRandom, systemRandom } from './random.ts'
export { memoryLocking, Secret } from './secret.ts'
export type { KeyRole, PostQuantumSigner, Signer } from './signer.ts'
export { createMemoryStore } from './store/memory.ts'
export { openSqliteStore } from './store/sqlite.ts'
export type { ScanOptions, Store, StoreEntry, StoreOp, WriteOptions } from './store/types.ts'
