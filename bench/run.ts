/** `npm run bench [-- FILE ...] [--json] [--quick]`: never fails the build; a row below its goal is marked and explained in docs/benchmarks.md. */
import { readdirSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { type BenchResult, type BenchRow, runRow } from './harness.ts'

const args = process.argv.slice(2)
const json = args.includes('--json')
const quick = args.includes('--quick')
const wanted = args.filter((arg) => !arg.startsWith('--'))
const SUPPORT = new Set(['harness.ts', 'run.ts'])

const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.ts') && !SUPPORT.has(file))
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memory_bytes: totalmem(),
  node: process.version,
  platform: `${process.platform}-${process.arch}`,
}
print(
  json
    ? JSON.stringify({ machine })
    : `${machine.cpu}, ${machine.cores} cores, ${Math.round(machine.memory_bytes / 2 ** 30)} GiB, Node ${machine.node}, ${machine.platform}\n`,
)

for (const file of files.sort()) {
  const name = file.slice(0, -3)
  if (wanted.length > 0 && !wanted.includes(name)) continue
  const { rows, close } = (await import(`./${file}`)) as { rows?: readonly BenchRow[]; close?: () => Promise<void> }
  for (const row of rows ?? []) {
    try {
      const result = await runRow(row, { quick, timeoutMs: 180_000 })
      print(json ? JSON.stringify(result) : line(result))
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      print(json ? JSON.stringify({ name: row.name, error: reason }) : `${row.name.padEnd(64)} not measured: ${reason}`)
    }
  }
  await close?.()
}
process.exit(0)

function line(result: BenchResult): string {
  const value = (number: number | null): string =>
    (number === null ? '' : number >= 100 ? Math.round(number).toLocaleString('en') : number.toPrecision(3)).padStart(12)
  // What has no peer is held against its goal itself.
  const reached = result.peer === '' ? result.ours : result.ratio
  const met = result.goal === null || reached === null ? '' : (result.better === 'higher' ? reached >= result.goal : reached <= result.goal) ? 'ok' : 'BELOW'
  const ratio = result.ratio === null ? '' : `${result.ratio.toFixed(2)}x`
  return `${result.name.padEnd(64)}${value(result.ours)} ${result.unit.padEnd(8)}${value(result.peer_value)} ${result.peer.padEnd(44)}${ratio.padStart(8)} goal ${String(result.goal ?? '-').padEnd(5)} ${met}`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
