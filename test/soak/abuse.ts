/** Everybody who means harm, in one process. The parent says which cases run. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fromHex, type PublicKey } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { didPublicKey, parseDid } from '../../src/identity/did.ts'
import { Abuser, type Aim, type Line } from './abuser.ts'
import { type Case, turn } from './case.ts'
import { CASES } from './cases/index.ts'
import type { Target, ToAbuser } from './messages.ts'
import { servePart } from './process.ts'

let aim: Aim | undefined
let going = new AbortController()
let running: Promise<unknown> = Promise.resolve()
let names = 0
/** How each case's links ended, and what it ran into. */
let ends: Record<string, Record<string, number>> = {}

function aimAt({ did, linkKey, url, honest }: Target): Aim {
  return {
    did: parseDid(did),
    linkKey: fromHex(linkKey) as PublicKey,
    url,
    honest: honest.map((peer) => ({ didKey: didPublicKey(parseDid(peer.did)), linkKey: fromHex(peer.linkKey) as PublicKey })),
  }
}

function note(name: string, end: string): void {
  const counts = ends[name] ?? {}
  counts[end] = (counts[end] ?? 0) + 1
  ends[name] = counts
}

/** One case until it is told to stop: a new link whenever the last one ended, a new identity whenever the last one was banned. */
async function pursue(one: Case, target: Aim, signal: AbortSignal): Promise<void> {
  let abuser: Abuser | undefined
  let line: Line | undefined
  while (!signal.aborted) {
    try {
      abuser ??= await somebody(one, target, undefined)
      line = line?.alive === true ? line : await abuser.link(AbortSignal.any([signal, AbortSignal.timeout(20_000)]))
      const ended = line.ended.then((code) => code)
      await Promise.race([one.run({ line, abuser, aim: target, signal }), ended, aborted(signal)])
      if (line.alive) {
        await turn()
        continue
      }
      const code = await ended
      note(one.name, code)
      if (code === 'BANNED') abuser = await renewed(one, target, abuser)
    } catch (error) {
      if (signal.aborted) break
      const code = isKithError(error) ? error.code : String(error)
      note(one.name, code)
      if (code === 'BANNED' && abuser !== undefined) abuser = await renewed(one, target, abuser)
      await sleep(200)
    }
  }
  await line?.close()
  abuser?.close()
}

/** Somebody new; what the old one still does ends with its link. */
async function renewed(one: Case, target: Aim, old: Abuser): Promise<Abuser> {
  const next = await somebody(one, target, old)
  setTimeout(() => old.close(), 5_000)
  return next
}

async function somebody(one: Case, target: Aim, old: Abuser | undefined): Promise<Abuser> {
  const abuser = new Abuser(target)
  if (one.as === 'known') await parent.ask({ do: 'befriend', did: abuser.did, name: `abuser-${++names}`, class: 'known', instead: old?.did })
  return abuser
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

async function end(): Promise<unknown> {
  going.abort()
  await running
  const said = ends
  ends = {}
  return said
}

const parent = servePart<ToAbuser>(
  async (question) => {
    switch (question.do) {
      case 'target':
        aim = aimAt(question.target)
        return undefined
      case 'begin': {
        if (aim === undefined) throw new TypeError('nobody to abuse')
        const target = aim
        going = new AbortController()
        const { signal } = going
        running = Promise.all(CASES.filter(({ name }) => question.cases.includes(name)).map((one) => pursue(one, target, signal)))
        return undefined
      }
      case 'end':
        return await end()
    }
  },
  async () => void (await end()),
)
