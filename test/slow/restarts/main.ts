import { Play } from './play.ts'
import { rememberChecks } from './remember.ts'

/** Plays in a process of its own, whose promises nobody watches: `main.ts MESSAGES SEED`. Writes the figures as one line of JSON. */
const [messages = '200000', seed = 'bulk'] = process.argv.slice(2)
Error.stackTraceLimit = 0
const { checks } = rememberChecks()
const started = performance.now()
const play = await Play.create(seed, Number(messages))
const figures = await play.run()
process.stdout.write(`${JSON.stringify({ ...figures, checks: checks(), seconds: Math.round((performance.now() - started) / 1_000) })}\n`)
