import { parseUtf8, utf8 } from './bytes.ts'
import { KithError } from './errors.ts'

/**
 * # Canonical binary codec
 *
 * One schema gives encoder, decoder, size limits and the TypeScript type. Every value has exactly one encoding and the decoder accepts only that one.
 *
 * ```text
 * u8 u16 u32 u64   fixed width, big-endian          bytesN   N raw bytes
 * varint           LEB128, low group first, at most 5 bytes (u32), overlong forms refused
 * bytes, text      varint length || bytes           option   00 | 01 value
 * list             varint count || items            struct   fields in order
 * ```
 *
 * Lengths are checked against the schema's limit and against what is left of the input before anything is allocated.
 * The same rules as the encrypted stream's codec (commonware-codec).
 */
export interface Codec<T> {
  /** Fewest and most bytes an encoding takes. */
  readonly min: number
  readonly max: number
  size(value: T): number
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}

export class Writer {
  readonly bytes: Uint8Array
  readonly #view: DataView
  at = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
    this.#view = new DataView(this.bytes.buffer)
  }

  u8(value: number): void {
    this.#view.setUint8(this.at, value)
    this.at += 1
  }
  u16(value: number): void {
    this.#view.setUint16(this.at, value)
    this.at += 2
  }
  u32(value: number): void {
    this.#view.setUint32(this.at, value)
    this.at += 4
  }
  u64(value: bigint): void {
    this.#view.setBigUint64(this.at, value)
    this.at += 8
  }
  raw(value: Uint8Array): void {
    this.bytes.set(value, this.at)
    this.at += value.length
  }
  varint(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.u8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.u8(rest)
  }
}

export class Reader {
  readonly bytes: Uint8Array
  readonly #view: DataView
  at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.bytes.length - this.at
  }
  #take(length: number): number {
    if (length > this.left) throw malformed('ends too early', { wanted: length, left: this.left })
    const at = this.at
    this.at += length
    return at
  }
  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8))
  }
  /** A copy, so that a small field never keeps a large input alive (`slice` of a `Buffer` would be a view). */
  raw(length: number): Uint8Array {
    const at = this.#take(length)
    const copy = new Uint8Array(length)
    copy.set(this.bytes.subarray(at, at + length))
    return copy
  }
  varint(): number {
    let value = 0
    let weight = 1
    for (let group = 0; group < 5; group++) {
      const byte = this.u8()
      if (byte === 0 && group > 0) throw malformed('overlong varint')
      if (group === 4 && byte > 0x0f) throw malformed('varint beyond 32 bits')
      value += (byte & 0x7f) * weight
      if (byte < 0x80) return value
      weight *= 0x80
    }
    throw malformed('varint beyond 32 bits')
  }
}

export function varintSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5
}

/** @throws TypeError when the value does not fit its schema: the caller's mistake, not the peer's. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer(codec.size(value))
  codec.write(writer, value)
  return writer.bytes
}

/** Decodes the whole input. @throws KithError `WIRE_MALFORMED` for anything but the one canonical encoding of a value. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  if (bytes.length < codec.min || bytes.length > codec.max) {
    throw malformed('length out of range', { length: bytes.length, min: codec.min, max: codec.max })
  }
  const reader = new Reader(bytes)
  const value = codec.read(reader)
  if (reader.left !== 0) throw malformed('bytes left over', { left: reader.left })
  return value
}

export function malformed(reason: string, details: Record<string, number | string> = {}): KithError {
  return new KithError('WIRE_MALFORMED', `malformed bytes: ${reason}`, { details: { reason, ...details } })
}

function integer(width: 1 | 2 | 4, method: 'u8' | 'u16' | 'u32'): Codec<number> {
  const limit = 2 ** (8 * width)
  return {
    min: width,
    max: width,
    size(value) {
      if (!Number.isInteger(value) || value < 0 || value >= limit) throw new TypeError(`not a ${method}: ${value}`)
      return width
    },
    write: (writer, value) => writer[method](value),
    read: (reader) => reader[method](),
  }
}

export const u8: Codec<number> = integer(1, 'u8')
export const u16: Codec<number> = integer(2, 'u16')
export const u32: Codec<number> = integer(4, 'u32')

/** A full 64-bit integer, for bit sets and counters that may use every bit. */
export const u64: Codec<bigint> = {
  min: 8,
  max: 8,
  size(value) {
    if (typeof value !== 'bigint' || value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new TypeError('not a u64')
    return 8
  },
  write: (writer, value) => writer.u64(value),
  read: (reader) => reader.u64(),
}

/** A u64 on the wire that is a safe integer here (times, serials, sequences); larger values are refused. */
export const uint53: Codec<number> = {
  min: 8,
  max: 8,
  size(value) {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`not a safe unsigned integer: ${value}`)
    return 8
  },
  write: (writer, value) => writer.u64(BigInt(value)),
  read(reader) {
    const value = reader.u64()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('integer beyond 2^53')
    return Number(value)
  },
}

export const varint: Codec<number> = {
  min: 1,
  max: 5,
  size(value) {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw new TypeError(`not a u32: ${value}`)
    return varintSize(value)
  },
  write: (writer, value) => writer.varint(value),
  read: (reader) => reader.varint(),
}

/** Exactly `length` raw bytes. */
export function bytesN(length: number): Codec<Uint8Array> {
  return {
    min: length,
    max: length,
    size(value) {
      if (value.length !== length) throw new TypeError(`expected ${length} bytes, got ${value.length}`)
      return length
    },
    write: (writer, value) => writer.raw(value),
    read: (reader) => reader.raw(length),
  }
}

/** A fixed tag: written as is, refused when different. */
export function constant(...tag: readonly number[]): Codec<undefined> {
  const expected = Uint8Array.from(tag)
  return {
    min: expected.length,
    max: expected.length,
    size: () => expected.length,
    write: (writer) => writer.raw(expected),
    read(reader) {
      for (const byte of expected) if (reader.u8() !== byte) throw malformed('unexpected tag')
      return undefined
    },
  }
}

function readLength(reader: Reader, limit: number, each: number): number {
  const length = reader.varint()
  if (length > limit) throw malformed('longer than allowed', { length, limit })
  if (length * each > reader.left) throw malformed('ends too early', { wanted: length * each, left: reader.left })
  return length
}

/** varint length || bytes, at most `limit` bytes. */
export function bytes(limit: number): Codec<Uint8Array> {
  return {
    min: 1,
    max: varintSize(limit) + limit,
    size(value) {
      if (value.length > limit) throw new TypeError(`at most ${limit} bytes, got ${value.length}`)
      return varintSize(value.length) + value.length
    },
    write(writer, value) {
      writer.varint(value.length)
      writer.raw(value)
    },
    read: (reader) => reader.raw(readLength(reader, limit, 1)),
  }
}

/** Strict UTF-8 of at most `limit` bytes. */
export function text(limit: number): Codec<string> {
  const inner = bytes(limit)
  return {
    min: inner.min,
    max: inner.max,
    size(value) {
      if (!value.isWellFormed()) throw new TypeError('text with a lone surrogate has no UTF-8 form')
      return inner.size(utf8(value))
    },
    write: (writer, value) => inner.write(writer, utf8(value)),
    read(reader) {
      const value = parseUtf8(inner.read(reader))
      if (value === undefined) throw malformed('not UTF-8')
      return value
    },
  }
}

export function option<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    min: 1,
    max: 1 + inner.max,
    size: (value) => (value === undefined ? 1 : 1 + inner.size(value)),
    write(writer, value) {
      writer.u8(value === undefined ? 0 : 1)
      if (value !== undefined) inner.write(writer, value)
    },
    read(reader) {
      const present = reader.u8()
      if (present > 1) throw malformed('option flag')
      return present === 1 ? inner.read(reader) : undefined
    },
  }
}

/** varint count || items, at most `limit` items. */
export function list<T>(inner: Codec<T>, limit: number): Codec<readonly T[]> {
  return {
    min: 1,
    max: varintSize(limit) + limit * inner.max,
    size(values) {
      if (values.length > limit) throw new TypeError(`at most ${limit} items, got ${values.length}`)
      let size = varintSize(values.length)
      for (const value of values) size += inner.size(value)
      return size
    },
    write(writer, values) {
      writer.varint(values.length)
      for (const value of values) inner.write(writer, value)
    },
    read(reader) {
      const count = readLength(reader, limit, inner.min)
      const values: T[] = []
      for (let i = 0; i < count; i++) values.push(inner.read(reader))
      return values
    },
  }
}

/** Fields in the order of the schema's keys. Name constants with a leading `_`: they are absent from the value's type. */
export function struct<S extends object>(fields: { readonly [K in keyof S]-?: Codec<S[K]> }): Codec<S> {
  const entries = Object.entries(fields) as [keyof S, Codec<S[keyof S]>][]
  let min = 0
  let max = 0
  for (const [, field] of entries) {
    min += field.min
    max += field.max
  }
  return {
    min,
    max,
    size(value) {
      let size = 0
      for (const [name, field] of entries) size += field.size(value[name])
      return size
    },
    write(writer, value) {
      for (const [name, field] of entries) field.write(writer, value[name])
    },
    read(reader) {
      const value: Partial<S> = {}
      for (const [name, field] of entries) value[name] = field.read(reader)
      return value as S
    },
  }
}

/** A value whose encoding is that of `inner`, seen as another type. `parse` throws (`malformed`) for what it refuses. */
export function mapped<A, B>(inner: Codec<A>, parse: (value: A) => B, format: (value: B) => A): Codec<B> {
  return {
    min: inner.min,
    max: inner.max,
    size: (value) => inner.size(format(value)),
    write: (writer, value) => inner.write(writer, format(value)),
    read: (reader) => parse(inner.read(reader)),
  }
}
