import { utf8 } from '../core/bytes.ts'
import { bytes, type Codec, encode, malformed, Reader, text, u8, u32, uint53, varint } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { MAX_BINDING_BYTES, MAX_NAME_BYTES } from './binding.ts'
import { MAX_CHAIN_BYTES } from './chain-codec.ts'
import { decodeChainState, encodeChainState } from './chain-store.ts'
import { isTokenKey, type KeySeeds, publicKeyCodec, type SoftwareSeeds } from './keys.ts'
import type { ChainState } from './types.ts'

/**
 * # What the two key files hold, once opened
 *
 * ```text
 * identity.age  "kith-identity" || u8 version || u64 created_ms || u32 generation || u8 may_rotate || keys || keys of the next generation
 *               || option<bytes phrase> || bytes chain_state
 * device.age    "kith-device"   || u8 version || u64 created_ms || seeds || bytes32 root || bytes name || u64 serial || u64 boot || bytes binding || bytes chain_state
 * pending.age   "kith-pending"  || u8 version || u64 created_ms || seeds || bytes32 root || bytes request         a machine that waits for its grant
 * seeds         bytes32 ed25519 || option<bytes32 mldsa>
 * keys          u8 0 || bytes32 ed25519 || option<bytes32 mldsa>
 *             | u8 1 || bytes32 public key || text uri || option<bytes32 mldsa>        the Ed25519 half is in a token, the URI is RFC 7512's without a PIN
 * ```
 *
 * Secrets are copied between the opened file and their own guarded pages; only public parts pass through ordinary memory.
 * An older version is read by the reader of its number and written as the newest at the next save. Version 1 of `device.age` has no root;
 * version 1 of `identity.age` has `seeds` where version 2 has `keys`.
 */
export interface IdentityContent {
  readonly createdMs: number
  /** Index of the chain entry the seeds belong to. */
  readonly generation: number
  /** Whether this machine may change the chain. A restore that could not ask for the chain may not. */
  readonly mayRotate: boolean
  readonly seeds: KeySeeds
  readonly next: KeySeeds
  readonly phrase: Secret | undefined
  readonly chain: ChainState
}

export interface DeviceContent {
  readonly createdMs: number
  readonly seeds: SoftwareSeeds
  /** What `Device.deriveSecret` derives from: random, of this machine, older than any one link key. */
  readonly root: Secret
  readonly name: string
  /** Of the newest binding. */
  readonly serial: number
  /** The highest run number known when the file was written; the counter never starts below it. */
  readonly boot: number
  readonly binding: Uint8Array
  readonly chain: ChainState
}

/** Keys of a machine that no identity has certified yet (`device-request.ts`). */
export interface PendingContent {
  readonly createdMs: number
  readonly seeds: SoftwareSeeds
  readonly root: Secret
  /** What it asked, encoded. */
  readonly request: Uint8Array
}

/** As it stands in a file of any version. */
export type StoredDevice = Omit<DeviceContent, 'root'> & { readonly root: Secret | undefined }

const IDENTITY_MAGIC = utf8('kith-identity')
const DEVICE_MAGIC = utf8('kith-device')
const PENDING_MAGIC = utf8('kith-pending')
const SEED_BYTES = 32
/** 24 words of eight letters. */
const MAX_PHRASE_BYTES = 24 * 9
export const MAX_TOKEN_URI_BYTES = 512
const NEWEST_IDENTITY = 2
const NEWEST_DEVICE = 2
const NEWEST_PENDING = 1
export const ROOT_BYTES = 32

const uriCodec: Codec<string> = text(MAX_TOKEN_URI_BYTES)
const nameCodec: Codec<string> = text(MAX_NAME_BYTES)
const bindingCodec: Codec<Uint8Array> = bytes(MAX_BINDING_BYTES)
const chainCodec: Codec<Uint8Array> = bytes(MAX_CHAIN_BYTES + 16 * 1024)

export function packIdentity(content: IdentityContent): Secret {
  const phrase = content.phrase
  return join(
    IDENTITY_MAGIC,
    encode(u8, NEWEST_IDENTITY),
    encode(uint53, content.createdMs),
    encode(u32, content.generation),
    encode(u8, content.mayRotate ? 1 : 0),
    ...keyParts(content.seeds),
    ...keyParts(content.next),
    ...(phrase === undefined ? [Uint8Array.of(0)] : [Uint8Array.of(1), encode(varint, phrase.length), phrase]),
    encode(chainCodec, encodeChainState(content.chain)),
  )
}

export function packDevice(content: DeviceContent): Secret {
  return join(
    DEVICE_MAGIC,
    encode(u8, NEWEST_DEVICE),
    encode(uint53, content.createdMs),
    ...seedParts(content.seeds),
    content.root,
    encode(nameCodec, content.name),
    encode(uint53, content.serial),
    encode(uint53, content.boot),
    encode(bindingCodec, content.binding),
    encode(chainCodec, encodeChainState(content.chain)),
  )
}

export function packPending({ createdMs, seeds, root, request }: PendingContent): Secret {
  const head = [PENDING_MAGIC, encode(u8, NEWEST_PENDING), encode(uint53, createdMs)]
  return join(...head, ...seedParts(seeds), root, encode(bindingCodec, request))
}

/** @throws as `unpackIdentity`. */
export function unpackPending(plaintext: Secret): PendingContent {
  return unpack(plaintext, PENDING_MAGIC, {
    1: (reader) => {
      const createdMs = uint53.read(reader)
      return { createdMs, seeds: reader.seeds(), root: reader.secret(ROOT_BYTES), request: bindingCodec.read(reader) }
    },
  })
}

/** @throws KithError `KEYSTORE_UNSUPPORTED` for a version this build does not know, `KEYSTORE_DAMAGED` for anything else that is not such a file. */
export function unpackIdentity(plaintext: Secret): IdentityContent {
  return unpack(plaintext, IDENTITY_MAGIC, { 1: (reader) => readIdentity(reader, false), 2: (reader) => readIdentity(reader, true) })
}

/** @throws as `unpackIdentity`. */
export function unpackDevice(plaintext: Secret): StoredDevice {
  return unpack(plaintext, DEVICE_MAGIC, { 1: (reader) => readDevice(reader, false), 2: (reader) => readDevice(reader, true) })
}

function readIdentity(reader: SecretReader, tokens: boolean): IdentityContent {
  const createdMs = uint53.read(reader)
  const generation = reader.u32()
  const mayRotate = reader.flag()
  const seeds = tokens ? reader.keys() : reader.seeds()
  const next = tokens ? reader.keys() : reader.seeds()
  const phrase = reader.flag() ? reader.secret(reader.length(MAX_PHRASE_BYTES)) : undefined
  return { createdMs, generation, mayRotate, seeds, next, phrase, chain: decodeChainState(chainCodec.read(reader)) }
}

function readDevice(reader: SecretReader, rooted: boolean): StoredDevice {
  const createdMs = uint53.read(reader)
  const seeds = reader.seeds()
  const root = rooted ? reader.secret(ROOT_BYTES) : undefined
  const name = nameCodec.read(reader)
  const serial = uint53.read(reader)
  const boot = uint53.read(reader)
  const binding = bindingCodec.read(reader)
  return { createdMs, seeds, root, name, serial, boot, binding, chain: decodeChainState(chainCodec.read(reader)) }
}

function unpack<T>(plaintext: Secret, magic: Uint8Array, readers: { readonly [version: number]: (reader: SecretReader) => T }): T {
  return plaintext.use((opened) => {
    const reader = new SecretReader(opened)
    try {
      for (const byte of magic) if (reader.u8() !== byte) throw malformed('not this kind of key file')
      const version = reader.u8()
      const read = Object.hasOwn(readers, version) ? readers[version] : undefined
      if (read === undefined) throw newer(version)
      const content = read(reader)
      if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
      return content
    } catch (error) {
      for (const secret of reader.taken) secret.wipe()
      if (!(error instanceof KithError) || error.code === 'KEYSTORE_UNSUPPORTED') throw error
      throw new KithError('KEYSTORE_DAMAGED', 'the keystore file opens but its content is not understood', { cause: error })
    }
  })
}

function newer(version: number): KithError {
  return new KithError('KEYSTORE_UNSUPPORTED', `the keystore file has version ${version}, which this build does not know`, {
    details: { version },
    next: 'run the version of kith that wrote it, or a newer one',
  })
}

class SecretReader extends Reader {
  readonly taken: Secret[] = []

  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw malformed('flag')
    return value === 1
  }

  length(limit: number): number {
    const length = this.varint()
    if (length < 1 || length > limit) throw malformed('length', { length, limit })
    return length
  }

  /** The next bytes, copied into pages of their own. */
  secret(length: number): Secret {
    if (length > this.left) throw malformed('ends too early', { wanted: length, left: this.left })
    const secret = Secret.alloc(length)
    this.taken.push(secret)
    secret.fill((target) => target.set(this.bytes.subarray(this.at, this.at + length)))
    this.at += length
    return secret
  }

  seeds(): SoftwareSeeds {
    const ed25519 = this.secret(SEED_BYTES)
    return { ed25519, mldsa: this.flag() ? this.secret(SEED_BYTES) : undefined }
  }

  keys(): KeySeeds {
    if (!this.flag()) return this.seeds()
    const publicKey = publicKeyCodec.read(this)
    const uri = uriCodec.read(this)
    if (!isTokenUri(uri)) throw malformed('token URI')
    return { ed25519: { kind: 'token', uri, publicKey }, mldsa: this.flag() ? this.secret(SEED_BYTES) : undefined }
  }
}

/** The outer form alone: a scheme, printable ASCII, and nothing that could be a PIN. What it names is found out when the token is opened. */
function isTokenUri(uri: string): boolean {
  return /^pkcs11:[\x21-\x7e]+$/.test(uri) && !/[;?&]pin-value=/i.test(uri)
}

function keyParts(seeds: KeySeeds): (Uint8Array | Secret)[] {
  const { ed25519, mldsa } = seeds
  if (!isTokenKey(ed25519)) return [Uint8Array.of(0), ...seedParts({ ed25519, mldsa })]
  if (!isTokenUri(ed25519.uri)) throw new TypeError('a key in a token is named by an RFC 7512 URI without a PIN')
  const half = mldsa === undefined ? [Uint8Array.of(0)] : [Uint8Array.of(1), mldsa]
  return [Uint8Array.of(1), encode(publicKeyCodec, ed25519.publicKey), encode(uriCodec, ed25519.uri), ...half]
}

function seedParts(seeds: SoftwareSeeds): (Uint8Array | Secret)[] {
  return seeds.mldsa === undefined ? [seeds.ed25519, Uint8Array.of(0)] : [seeds.ed25519, Uint8Array.of(1), seeds.mldsa]
}

function join(...parts: readonly (Uint8Array | Secret)[]): Secret {
  const whole = Secret.alloc(parts.reduce((length, part) => length + part.length, 0))
  whole.fill((target) => {
    let at = 0
    for (const part of parts) {
      if (part instanceof Secret) part.use((secret) => target.set(secret, at))
      else target.set(part, at)
      at += part.length
    }
  })
  return whole
}
