import { isKithError, KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { combineShares } from '../vault/shares.ts'
import { decodeShare, MAX_SHARE_TEXT_BYTES } from '../vault/shares-text.ts'
import type { CommandContext } from './context.ts'

const MAX_GIVEN = 16

/**
 * The recovery phrase of the shares that somebody gives: asked one by one without echo on a terminal, until there are enough; else the lines of standard input.
 * The caller wipes it. A share that is mistyped on a terminal is asked again.
 * @throws KithError `SHARE_DAMAGED`, `SHARES_MIXED`, `SHARES_TOO_FEW`, `SHARES_WRONG`.
 */
export async function readShares(context: CommandContext): Promise<Secret> {
  const shares = context.terminal.interactive ? await askShares(context) : await inputShares(context)
  try {
    return await combineShares(shares)
  } finally {
    for (const share of shares) share.wipe()
  }
}

async function askShares({ terminal, output, signal }: CommandContext): Promise<readonly Secret[]> {
  const shares: Secret[] = []
  let wanted: number | undefined
  while (shares.length < (wanted ?? MAX_GIVEN)) {
    const answer = await terminal.askSecret(`Share ${shares.length + 1}${wanted === undefined ? '' : ` of ${wanted}`} (Enter when there are no more): `, signal)
    if (answer === undefined) break
    try {
      wanted ??= thresholdOf(answer, shares.length + 1)
      thresholdOf(answer, shares.length + 1)
      shares.push(answer)
    } catch (error) {
      answer.wipe()
      if (!isKithError(error, 'SHARE_DAMAGED')) throw error
      output.note(`${error.message} Once more:`)
    }
  }
  return shares
}

function thresholdOf(text: Secret, given: number): number {
  const share = decodeShare(text, given)
  share.point.fill(0)
  return share.threshold
}

async function inputShares({ terminal, signal }: CommandContext): Promise<readonly Secret[]> {
  const bytes = await terminal.readInput(MAX_GIVEN * MAX_SHARE_TEXT_BYTES, signal)
  try {
    const shares: Secret[] = []
    let from = 0
    for (let at = 0; at <= bytes.length; at++) {
      if (at < bytes.length && bytes[at] !== 0x0a) continue
      const line = bytes.subarray(from, at)
      from = at + 1
      if (line.some((byte) => byte > 0x20)) shares.push(Secret.take(new Uint8Array(line)))
      if (shares.length > MAX_GIVEN) throw new KithError('USAGE', `At most ${MAX_GIVEN} shares, a line each.`, { next: 'kith id shares --help' })
    }
    return shares
  } finally {
    bytes.fill(0)
  }
}
