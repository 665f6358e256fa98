import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import type { Answer, Question } from './messages.ts'

/** Another process of the soak, which answers questions and may ask some itself. */
export interface Part<T> {
  readonly child: ChildProcess
  /** Why it ended, as long as it was not asked to. */
  readonly failures: string[]
  ask<A>(question: T): Promise<A>
  stop(): Promise<void>
}

/** Starts a file of this folder. `answering`: what it may ask of this side. `nice`: from 0 to 19, who gives way when the machine is busy. */
export function startPart<T>(
  file: string,
  { args = [], nice = 0, answering }: { args?: readonly string[]; nice?: number; answering?: (question: unknown) => Promise<unknown> } = {},
): Part<T> {
  const failures: string[] = []
  const child = fork(join(import.meta.dirname, file), args, {
    execArgv: ['--conditions=kith-source', '--expose-gc', '--unhandled-rejections=throw'],
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  if (nice > 0 && child.pid !== undefined) setPriority(child.pid, nice)
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  let stderr = ''
  let asked = 0
  let stopping = false
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-4_096)
  })
  child.on('exit', (code, signal) => {
    if (!stopping || code !== 0) failures.push(`${file} ended with ${code ?? signal}: ${stderr}`)
    for (const { reject } of waiting.values()) reject(new Error(`${file} has ended: ${stderr}`))
    waiting.clear()
  })
  child.on('message', (message: Answer | Question<unknown>) => {
    if ('ask' in message) {
      void (answering ?? (() => Promise.reject(new Error('nobody answers'))))(message.ask).then(
        (answer) => child.connected && child.send({ id: message.id, answer } satisfies Answer),
        (error: unknown) => child.connected && child.send({ id: message.id, error: String(error) } satisfies Answer),
      )
      return
    }
    const waiter = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.error === undefined) waiter?.resolve(message.answer as never)
    else waiter?.reject(new Error(`${file}: ${message.error}`))
  })
  return {
    child,
    failures,
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (!child.connected) {
          reject(new Error(`${file} has ended: ${stderr}`))
          return
        }
        const id = ++asked
        waiting.set(id, { resolve: resolve as (value: never) => void, reject })
        child.send({ id, ask: question } satisfies Question<T>)
      }),
    async stop() {
      stopping = true
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.disconnect()
      const late = setTimeout(() => child.kill('SIGKILL'), 20_000)
      await ended
      clearTimeout(late)
    },
  }
}

/** The other end: answers what the parent asks until it hangs up, and may ask it something. */
export function servePart<T>(answer: (question: T) => Promise<unknown>, onEnd: () => Promise<void>): { ask<A>(question: unknown): Promise<A> } {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  let asked = 0
  process.on('message', (message: Question<T> | Answer) => {
    if ('ask' in message) {
      void answer(message.ask).then(
        (value) => process.connected && process.send?.({ id: message.id, answer: value } satisfies Answer),
        (error: unknown) => process.connected && process.send?.({ id: message.id, error: String(error) } satisfies Answer),
      )
      return
    }
    const waiter = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.error === undefined) waiter?.resolve(message.answer as never)
    else waiter?.reject(new Error(message.error))
  })
  process.on('disconnect', () => {
    onEnd().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        const id = ++asked
        waiting.set(id, { resolve: resolve as (value: never) => void, reject })
        process.send?.({ id, ask: question } satisfies Question<unknown>)
      }),
  }
}
