import { createHash } from 'node:crypto'
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js'
import { fromHex, toHex } from '../../../src/core/bytes.ts'
import { seededRandom } from '../../../src/core/random.ts'

/**
 * Keys and signatures at the edges of Ed25519, where implementations differ: torsion, small order, non-canonical encodings and scalars.
 * Built from scratch with an independent implementation; deterministic, so the same cases stand in `test/vectors/ed25519-rule.json`
 * for builds that cannot run this file.
 */
export interface EdgeCase {
  readonly name: string
  /** Hexadecimal. */
  readonly key: string
  readonly message: string
  readonly signature: string
}

const { Point } = ed25519
type Point = InstanceType<typeof Point>
const ORDER = Point.Fn.ORDER
const FIELD = Point.Fp.ORDER
const TORSION: readonly Point[] = ED25519_TORSION_SUBGROUP.map((hex) => Point.fromHex(hex, true))
const BASE = Point.BASE

/** All 14 encodings of points of small order: the 8 canonical ones, y + p where that still fits, and the sign bit where x = 0. */
export const SMALL_ORDER_ENCODINGS: readonly string[] = [
  ...ED25519_TORSION_SUBGROUP,
  encodeY(FIELD, false),
  encodeY(FIELD, true),
  encodeY(FIELD + 1n, false),
  encodeY(FIELD + 1n, true),
  encodeY(1n, true),
  encodeY(FIELD - 1n, true),
]

function encodeY(y: bigint, sign: boolean): string {
  const bytes = littleEndian(y)
  if (sign) bytes[31] = (bytes[31] as number) | 0x80
  return toHex(bytes)
}

export function littleEndian(value: bigint): Uint8Array {
  const bytes = new Uint8Array(32)
  for (let i = 0, rest = value; i < 32; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn)
  return bytes
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

const mod = (value: bigint): bigint => ((value % ORDER) + ORDER) % ORDER
const times = (point: Point, scalar: bigint): Point => (mod(scalar) === 0n ? Point.ZERO : point.multiply(mod(scalar)))

export function challenge(commitment: Uint8Array, key: Uint8Array, message: Uint8Array): bigint {
  return mod(fromLittleEndian(createHash('sha512').update(commitment).update(key).update(message).digest()))
}

export interface Ingredients {
  /** Secret scalar and nonce. */
  readonly a: bigint
  readonly r: bigint
  /** Torsion added to the key and to R; index into the eight points. */
  readonly keyTorsion: number
  readonly commitmentTorsion: number
}

/** s = r + h a over A = aB + T1, R = rB + T2: satisfies the cofactored equation always, the plain one only if the torsion cancels. */
export function craft(message: Uint8Array, { a, r, keyTorsion, commitmentTorsion }: Ingredients): { key: Uint8Array; signature: Uint8Array } {
  const key = times(BASE, a)
    .add(TORSION[keyTorsion] as Point)
    .toBytes()
  const commitment = times(BASE, r)
    .add(TORSION[commitmentTorsion] as Point)
    .toBytes()
  const s = mod(r + challenge(commitment, key, message) * a)
  return { key, signature: Uint8Array.from([...commitment, ...littleEndian(s)]) }
}

export function edgeCases(): EdgeCase[] {
  const random = seededRandom('ed25519 edge cases')
  const scalar = (): bigint => mod(fromLittleEndian(random.bytes(32)))
  const a = scalar()
  const r = scalar()
  const message = random.bytes(24)
  const cases: EdgeCase[] = []
  const add = (name: string, key: Uint8Array | string, msg: Uint8Array, signature: Uint8Array | string): void => {
    const hex = (value: Uint8Array | string): string => (typeof value === 'string' ? value : toHex(value))
    cases.push({ name, key: hex(key), message: toHex(msg), signature: hex(signature) })
  }
  const replace = (signature: Uint8Array, part: { R?: string; s?: bigint }): string =>
    (part.R ?? toHex(signature.subarray(0, 32))) + toHex(part.s === undefined ? signature.subarray(32) : littleEndian(part.s))

  const plain = craft(message, { a, r, keyTorsion: 0, commitmentTorsion: 0 })
  const s = fromLittleEndian(plain.signature.subarray(32))
  add('plain signature', plain.key, message, plain.signature)
  add('other message', plain.key, Uint8Array.from([...message, 0]), plain.signature)
  add('scalar plus the order', plain.key, message, replace(plain.signature, { s: s + ORDER }))
  add('scalar plus seven times the order', plain.key, message, replace(plain.signature, { s: s + 7n * ORDER }))
  add('scalar with its highest bit set', plain.key, message, replace(plain.signature, { s: s | (1n << 255n) }))
  add('scalar equal to the order', plain.key, message, replace(plain.signature, { s: ORDER }))
  add('scalar off by one', plain.key, message, replace(plain.signature, { s: mod(s + 1n) }))
  add('R off the curve', plain.key, message, replace(plain.signature, { R: `02${'00'.repeat(31)}` }))
  add('key off the curve', `02${'00'.repeat(31)}`, message, plain.signature)
  add('all zeros', '00'.repeat(32), message, '00'.repeat(64))

  for (const torsion of [1, 2, 4]) {
    const inR = craft(message, { a, r, keyTorsion: 0, commitmentTorsion: torsion })
    add(`R with torsion ${torsion}`, inR.key, message, inR.signature)
    const wanted = torsion === 4 ? 2n : torsion === 2 ? 4n : 8n
    for (const cancels of [true, false]) {
      for (let n = 0; ; n++) {
        const varied = Uint8Array.from([...message, n])
        const inKey = craft(varied, { a, r, keyTorsion: torsion, commitmentTorsion: 0 })
        const h = challenge(inKey.signature.subarray(0, 32), inKey.key, varied)
        if ((h % wanted === 0n) !== cancels) continue
        add(
          `key with torsion ${torsion} that ${cancels ? 'cancels: only the check of the key sees it' : 'does not cancel'}`,
          inKey.key,
          varied,
          inKey.signature,
        )
        break
      }
    }
  }

  for (const encoding of SMALL_ORDER_ENCODINGS) {
    add(`key of small order ${encoding}`, encoding, message, toHex(times(BASE, r).toBytes()) + toHex(littleEndian(r)))
    const h = challenge(fromHex(encoding), plain.key, message)
    add(`R of small order ${encoding}`, plain.key, message, encoding + toHex(littleEndian(mod(h * a))))
  }
  return cases
}
