import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { type ProgramResult, runProgram } from './program.ts'

/**
 * A key in the keyring of the desktop (Secret Service: GNOME Keyring, KWallet, KeePassXC), by `secret-tool`. Unlocked with the login of the user, who may be
 * asked by the keyring itself. The key goes in and out by pipes, as hexadecimal digits.
 */
const KEY_DIGITS = 64

/** @throws KithError `SEAL_UNAVAILABLE` without a keyring or its tool. */
export async function storeInKeyring(homeId: string, key: Secret, environment: NodeJS.ProcessEnv): Promise<void> {
  using digits = Secret.alloc(KEY_DIGITS)
  key.use((bytes) => digits.fill((target) => target.set(hexDigits(bytes))))
  done(await runProgram('secret-tool', { args: ['store', '--label=kith: what opens the key files', ...names(homeId)], input: digits, environment }))
}

/** @throws KithError `SEAL_INVALID` when the keyring does not have it, `SEAL_UNAVAILABLE` without a keyring or its tool. */
export async function lookUpInKeyring(homeId: string, environment: NodeJS.ProcessEnv): Promise<Secret> {
  const result = await runProgram('secret-tool', { args: ['lookup', ...names(homeId)], environment })
  const { output } = result
  try {
    // Status 1 without a word: not found. With one: no keyring.
    if (result.status !== 0 && result.complaint !== '') done(result)
    const text = output.at(-1) === 0x0a ? output.subarray(0, -1) : output
    if (result.status !== 0 || text.length !== KEY_DIGITS || !text.every(isDigit)) {
      throw new KithError('SEAL_INVALID', 'the keyring does not hold the key of this home', {
        next: 'kith id seal --keyring --passphrase-file FILE (your passphrase, or the recovery file)',
      })
    }
    const key = Secret.alloc(KEY_DIGITS / 2)
    key.fill((target) => {
      for (let i = 0; i < target.length; i++) target[i] = (nibbleOf(text[2 * i] as number) << 4) | nibbleOf(text[2 * i + 1] as number)
    })
    return key
  } finally {
    output.fill(0)
  }
}

export async function removeFromKeyring(homeId: string, environment: NodeJS.ProcessEnv): Promise<void> {
  await runProgram('secret-tool', { args: ['clear', ...names(homeId)], environment })
}

function names(homeId: string): readonly string[] {
  return ['application', 'kith', 'home', homeId]
}

function done({ status, complaint }: ProgramResult): void {
  if (status === 0) return
  throw new KithError('SEAL_UNAVAILABLE', 'the keyring of this session does not answer', {
    details: { complaint },
    next: 'log in to a desktop session, or unlock the keyring',
  })
}

/** Digits without a string in between, which could not be wiped. */
function hexDigits(bytes: Uint8Array): Uint8Array {
  const digits = new Uint8Array(bytes.length * 2)
  for (const [i, byte] of bytes.entries()) {
    digits[2 * i] = digitOf(byte >> 4)
    digits[2 * i + 1] = digitOf(byte & 15)
  }
  return digits
}

const digitOf = (value: number): number => (value < 10 ? 0x30 + value : 0x57 + value)
const nibbleOf = (digit: number): number => (digit < 0x3a ? digit - 0x30 : digit - 0x57)
const isDigit = (byte: number): boolean => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66)
