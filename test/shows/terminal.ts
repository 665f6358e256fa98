import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Stage } from '../cli/support.ts'

const BIN = fileURLToPath(new URL('../../bin/kith.mjs', import.meta.url))
/** Nothing on a terminal takes longer, however busy the machine is. */
const SCREEN_MS = 60_000

/** util-linux's `script` gives a child a real terminal. */
export const hasTerminal: boolean = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0

/** The real command on a terminal of its own. */
export interface TerminalSession {
  readonly process: ChildProcess
  /** All that was shown so far. */
  readonly screen: string
  /** Waits until a text is shown behind what was waited for before. */
  sees(text: string): Promise<void>
  /** Types at once, as a paste does. */
  type(text: string): void
  readonly ended: Promise<number | null>
}

export function openTerminal(stage: Stage, args: readonly string[], env: Readonly<Record<string, string>> = {}): TerminalSession {
  return openTerminalOf(stage, [process.execPath, BIN, ...args], env)
}

/** Any program on a terminal of its own. */
export function openTerminalOf(stage: Stage, words: readonly string[], env: Readonly<Record<string, string>> = {}): TerminalSession {
  const command = words.map((word) => `'${word}'`).join(' ')
  const environment = { ...process.env, XDG_STATE_HOME: `${stage.folder}/state`, NO_COLOR: '1', TERM: 'xterm', ...env }
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: environment, stdio: ['pipe', 'pipe', 'inherit'], cwd: stage.folder })
  let screen = ''
  let seen = 0
  let look = (): void => {}
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text
    look()
  })
  const ended = once(child, 'close').then(([status]) => status as number | null)
  return {
    process: child,
    get screen() {
      return screen
    },
    sees: (text) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not shown: ${text}\n${screen}`)), SCREEN_MS)
        look = () => {
          const at = screen.indexOf(text, seen)
          if (at < 0) return
          clearTimeout(timer)
          seen = at + text.length
          look = () => {}
          resolve()
        }
        void ended.then(() => reject(new Error(`ended without: ${text}\n${screen}`)))
        look()
      }),
    type: (text) => void child.stdin.write(text),
    ended,
  }
}

/** The words of a phrase as `showPhrase` prints them: numbered, in columns. */
export function wordsOnScreen(screen: string): string[] {
  return [...screen.matchAll(/(?<=\s)\d{1,2} ([a-z]{3,8})(?=\s)/g)].map(([, word]) => word as string)
}
