import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { type ProgramResult, runProgram } from './program.ts'

/**
 * # A key sealed by the TPM
 *
 * ```text
 * seal     createprimary (owner, ECC) -> createpolicy PCR -> create < key         gives public and private part, which only this TPM can load
 * unseal   createprimary -> load -> salted, encrypting policy session -> policypcr -> unseal > key
 * ```
 *
 * TPMs have no Ed25519, so the TPM keeps what opens the key files and not the identity's key itself. The policy is the values of some PCRs at the time of
 * sealing: firmware (0), Secure Boot (7), or what the owner names. The key goes in and out by pipes; the session encrypts it on the bus to the chip.
 * Without a resource manager the TPM has room for three objects, so what was loaded is flushed after each command.
 */
export interface TpmSealed {
  readonly pcrs: readonly number[]
  /** Of the bank SHA-256, 64 hexadecimal digits each, in the order of `pcrs`: to tell which one changed. */
  readonly values: readonly string[]
  /** TPM2B_PUBLIC and TPM2B_PRIVATE. */
  readonly publicPart: Uint8Array
  readonly privatePart: Uint8Array
}

/** Firmware, and the state of Secure Boot. */
export const DEFAULT_PCRS: readonly number[] = [0, 7]
export const MAX_PCR = 23
const VALUE_BYTES = 32
const KEY_BYTES = 32

/** @throws KithError `USAGE`. */
export function parsePcrs(text: string): readonly number[] {
  const numbers = text.split(',').map((part) => (/^\d{1,2}$/.test(part) ? Number(part) : Number.NaN))
  const good = numbers.every((number) => number <= MAX_PCR) && new Set(numbers).size === numbers.length
  if (good) return numbers.toSorted((a, b) => a - b)
  throw new KithError('USAGE', `--pcr takes numbers from 0 to ${MAX_PCR}, separated by commas.`, { next: 'kith id seal --help' })
}

/** @throws KithError `SEAL_UNAVAILABLE` without a TPM or its tools. */
export async function sealByTpm(key: Secret, pcrs: readonly number[], environment: NodeJS.ProcessEnv): Promise<TpmSealed> {
  return await inTpm(environment, async (tpm) => {
    await tpm.primary()
    await tpm.run('tpm2_createpolicy', ['-Q', '--policy-pcr', '-l', list(pcrs), '-L', 'pcr.policy'])
    const values = await tpm.values(pcrs)
    await tpm.run(
      'tpm2_create',
      ['-Q', '-C', 'primary.ctx', '-i', '-', '-L', 'pcr.policy', '-u', 'public', '-r', 'private', '-a', 'fixedtpm|fixedparent|noda'],
      key,
    )
    const [publicPart, privatePart] = await Promise.all(['public', 'private'].map(async (name) => Uint8Array.from(await readFile(tpm.file(name)))))
    return { pcrs, values, publicPart: publicPart as Uint8Array, privatePart: privatePart as Uint8Array }
  })
}

/**
 * @throws KithError `SEAL_BROKEN` (details.changed: the PCRs that differ) when the policy does not hold any more, `SEAL_INVALID` when this TPM did not seal
 * it, `SEAL_UNAVAILABLE` without a TPM or its tools.
 */
export async function unsealByTpm(sealed: TpmSealed, environment: NodeJS.ProcessEnv): Promise<Secret> {
  const { pcrs } = sealed
  return await inTpm(environment, async (tpm) => {
    await tpm.primary()
    await Promise.all([writeFile(tpm.file('public'), sealed.publicPart), writeFile(tpm.file('private'), sealed.privatePart)])
    const loaded = await tpm.attempt('tpm2_load', ['-Q', '-C', 'primary.ctx', '-u', 'public', '-r', 'private', '-c', 'sealed.ctx'])
    if (loaded.status !== 0) {
      const sentence = 'this TPM did not seal the passphrase, or was cleared since'
      throw new KithError('SEAL_INVALID', sentence, { details: { complaint: loaded.complaint }, next: SEAL_AGAIN })
    }
    const changed = await tpm.changed(sealed)
    if (changed.length > 0) throw broken(changed)
    await tpm.run('tpm2_startauthsession', ['-Q', '--policy-session', '-c', 'primary.ctx', '-S', 'session.ctx'])
    await tpm.run('tpm2_sessionconfig', ['session.ctx', '--enable-encrypt', '--enable-decrypt'])
    await tpm.run('tpm2_policypcr', ['-Q', '-S', 'session.ctx', '-l', list(pcrs)])
    const unsealed = await tpm.attempt('tpm2_unseal', ['-c', 'sealed.ctx', '-p', 'session:session.ctx'])
    if (unsealed.status !== 0) throw broken(await tpm.changed(sealed), unsealed.complaint)
    if (unsealed.output.length !== KEY_BYTES) throw new KithError('SEAL_INVALID', undefined, { next: SEAL_AGAIN })
    return Secret.take(unsealed.output)
  })
}

/** PCRs whose values are not those of the sealing. @throws KithError `SEAL_UNAVAILABLE`. */
export async function changedPcrs(sealed: TpmSealed, environment: NodeJS.ProcessEnv): Promise<readonly number[]> {
  return await inTpm(environment, (tpm) => tpm.changed(sealed))
}

export const SEAL_AGAIN =
  'kith id seal --tpm --passphrase-file FILE (with your passphrase, or the recovery file; without either, kith init --restore in a new home)'

function broken(changed: readonly number[], complaint?: string): KithError {
  const what = changed.length === 0 ? 'its policy does not hold' : `PCR ${changed.join(', ')} changed: firmware, Secure Boot or the kernel is another one`
  return new KithError('SEAL_BROKEN', `the TPM does not give the passphrase away: ${what}`, {
    details: { changed: changed.join(','), ...(complaint === undefined ? {} : { complaint }) },
    next: SEAL_AGAIN,
  })
}

function list(pcrs: readonly number[]): string {
  return `sha256:${pcrs.join(',')}`
}

interface Tpm {
  file(name: string): string
  primary(): Promise<void>
  run(program: string, args: readonly string[], input?: Secret): Promise<void>
  attempt(program: string, args: readonly string[], input?: Secret): Promise<ProgramResult>
  values(pcrs: readonly number[]): Promise<readonly string[]>
  changed(sealed: TpmSealed): Promise<readonly number[]>
}

/** A private directory for the files by which the tools hand their contexts on; no secret is among them. It is removed, and the TPM flushed, in any case. */
async function inTpm<T>(environment: NodeJS.ProcessEnv, work: (tpm: Tpm) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(environment.XDG_RUNTIME_DIR ?? tmpdir(), 'kith-tpm-')).catch(() => mkdtemp(join(tmpdir(), 'kith-tpm-')))
  const attempt: Tpm['attempt'] = async (program, args, input) => {
    const result = await runProgram(program, { args, environment, cwd: directory, timeoutMs: 20_000, ...(input === undefined ? {} : { input }) })
    for (const kind of ['-t', '-l']) await runProgram('tpm2_flushcontext', { args: [kind], environment, cwd: directory, timeoutMs: 20_000 })
    return result
  }
  const run: Tpm['run'] = async (program, args, input) => {
    const { status, complaint } = await attempt(program, args, input)
    if (status === 0) return
    throw new KithError('SEAL_UNAVAILABLE', `the TPM does not answer, or refuses ${program}`, {
      details: { program, complaint },
      next: 'look whether /dev/tpmrm0 is there and you may use it (group tss)',
    })
  }
  const values: Tpm['values'] = async (pcrs) => {
    await run('tpm2_pcrread', ['-Q', '-o', 'pcrs', list(pcrs)])
    const raw = await readFile(join(directory, 'pcrs'))
    if (raw.length !== pcrs.length * VALUE_BYTES) throw new KithError('SEAL_UNAVAILABLE', 'the TPM has no SHA-256 bank of PCRs', { next: 'kith doctor' })
    return pcrs.map((_, i) => raw.subarray(i * VALUE_BYTES, (i + 1) * VALUE_BYTES).toString('hex'))
  }
  const tpm: Tpm = {
    file: (name) => join(directory, name),
    primary: () => run('tpm2_createprimary', ['-Q', '-C', 'o', '-G', 'ecc', '-c', 'primary.ctx']),
    run,
    attempt,
    values,
    async changed({ pcrs, values: before }) {
      const now = await values(pcrs)
      return pcrs.filter((_, i) => now[i] !== before[i])
    },
  }
  try {
    return await work(tpm)
  } finally {
    await runProgram('tpm2_flushcontext', { args: ['-s'], environment, cwd: directory, timeoutMs: 20_000 }).catch(() => undefined)
    await rm(directory, { recursive: true, force: true })
  }
}
