import { connections, echo, readAll, type Setup } from './support.ts'

/** Dials, opens streams, leaves some half done, closes everything; then nothing may be left that keeps the process alive. */
const { setup } = (await import(process.argv[2] as string)) as { setup: Setup }
const cleanups: (() => unknown)[] = []
const context = { after: (run: () => unknown) => cleanups.push(run) } as unknown as Parameters<typeof connections>[0]
const { a, b } = await connections(context, setup)
b.onStream = echo
const stream = await a.open()
const answer = readAll(stream)
stream.write(Buffer.from('hello'))
stream.end()
await answer
const unfinished = await a.open()
unfinished.write(Buffer.alloc(100))
await a.ping()
for (const run of cleanups.reverse()) await run()
