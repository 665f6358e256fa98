import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { isKithError, KithError } from '../../../core/errors.ts'
import { type DeviceTextKind, deviceText, MAX_TEXT_CHARS, readDeviceText } from '../../../identity/device-text.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { qrLines } from '../../qr.ts'

/** Characters of one QR code, from those for wide terminals to those for narrow ones. */
const QR_CHARS: readonly number[] = [2_400, 1_600, 1_000, 640, 400, 250]

/** Reads a request or grant: a file, `-` for standard input, on a terminal line by line until it is whole. @throws KithError `NOT_FOUND`, as `readDeviceText`. */
export async function readText(context: CommandContext, kind: DeviceTextKind, source: string): Promise<string> {
  if (source !== '-') return await fromFile(resolve(context.cwd, source))
  const { terminal, output, signal } = context
  if (terminal.interactive) output.note(`Paste the lines of the ${kind}.`)
  let text = ''
  for (;;) {
    text += `${(await terminal.readInput(MAX_TEXT_CHARS, signal)).toString('utf8')}\n`
    if (!terminal.interactive || isWhole(kind, text) || text.length > MAX_TEXT_CHARS) return text
  }
}

/** Into a file, as QR codes, or as the result. */
export async function giveText(
  context: CommandContext,
  options: Options,
  kind: DeviceTextKind,
  lines: readonly string[],
  result: object,
  remarks: readonly string[],
  out: string | undefined = options.text('out'),
): Promise<void> {
  const { output } = context
  if (out !== undefined) await toFile(resolve(context.cwd, out), lines)
  if (options.flag('qr')) showCodes(context, kind, lines)
  output.result(result, (palette) => (out === undefined ? [...lines] : [`${palette.good('written')}  ${out}`]), out === undefined ? lines.join('\n') : out)
  for (const remark of remarks) output.note(remark)
}

/** @throws KithError `USAGE` when there is no terminal to show them on. */
function showCodes({ terminal, output }: CommandContext, kind: DeviceTextKind, lines: readonly string[]): void {
  if (!terminal.visible || output.json) throw new KithError('USAGE', 'QR codes are shown on a terminal only.', { next: 'kith id device --help' })
  const bytes = readDeviceText(kind, lines.join('\n'))
  for (const chars of QR_CHARS) {
    const parts = deviceText(kind, bytes, chars)
    const codes = parts.map((part) => qrLines(part, terminal.columns))
    if (codes.some((code) => code.length === 0)) continue
    for (const [at, code] of codes.entries()) terminal.write(`\n${code.join('\n')}\n${at + 1} of ${codes.length}\n`)
    return
  }
  throw new KithError('USAGE', 'The terminal is too narrow for a QR code.', { next: 'kith id device --help' })
}

function isWhole(kind: DeviceTextKind, text: string): boolean {
  try {
    readDeviceText(kind, text)
    return true
  } catch (error) {
    // What is wrong in another way than by being incomplete does not get better by waiting.
    return isKithError(error) && !/is missing|there is no/.test(String(error.details.reason))
  }
}

async function fromFile(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8')
    if (text.length <= MAX_TEXT_CHARS) return text
  } catch (cause) {
    throw new KithError('NOT_FOUND', `${path} cannot be read.`, { details: { path }, cause })
  }
  throw new KithError('USAGE', `${path} is too long for this.`, { details: { path } })
}

async function toFile(path: string, lines: readonly string[]): Promise<void> {
  try {
    await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw new KithError('USAGE', exists ? `${path} exists already.` : `${path} cannot be written.`, {
      details: { path },
      cause,
      ...(exists ? { next: 'the same again with another file name' } : {}),
    })
  }
}
