import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * Seconds that a piece of work took. On the wall, as a user sees it; or with `--cpu` those of the processors, in this process and the one at the other end together:
 * what a rate costs is steady on a machine that does other things as well, where rates on the wall are not.
 */
const CPU: boolean = process.argv.includes('--cpu')
/** Of `/proc/PID/stat`; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

export type Far = Pick<ChildProcess, 'pid'> | number

/** Starts counting; the function returned says how many seconds have gone. */
export function stopwatch(...far: readonly Far[]): () => number {
  if (!CPU) {
    const started = performance.now()
    return () => (performance.now() - started) / 1e3
  }
  const pids = far.map((end) => (typeof end === 'number' ? end : (end.pid as number)))
  const own = process.cpuUsage()
  const others = pids.map(cpuSeconds)
  return () => {
    const { user, system } = process.cpuUsage(own)
    return (user + system) / 1e6 + pids.reduce((sum, pid, i) => sum + cpuSeconds(pid) - (others[i] as number), 0)
  }
}

/** What a process has used so far, all threads, good to 10 ms. Linux only. */
export function cpuSeconds(pid: number): number {
  const fields = statFields(pid)
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** A process and everything it started that still runs. Linux only. */
export function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  return [pid, ...children.flatMap((child) => processTree(Number(child)))]
}

/** Resident memory of another process in bytes, as the kernel counts it. Linux only. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1]) * 1024
}

/** The fields of proc(5) `stat` behind the name of the program, which may hold blanks: [0] is the state. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}
