import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { abortSocket } from '../../src/tunnel/local-socket.ts'

/** Both ends of a connection, each open until it has ended itself. */
async function connected(t: TestContext): Promise<{ readonly ours: Socket; readonly program: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrived = once(server, 'connection')
  const program = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
  const [ours] = (await arrived) as [Socket]
  t.after(() => {
    ours.destroy()
    program.destroy()
    server.close()
  })
  return { ours, program }
}

const soon = (): { readonly signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) })

test('a connection whose end is still on its way, aborted, closes without an error and lets go of its descriptor', { timeout: 20_000 }, async (t) => {
  const { ours, program } = await connected(t)
  const errors: unknown[] = []
  ours.on('error', (error) => errors.push(error)).resume()
  program.end('asked')
  await once(ours, 'end', soon())
  ours.end('answer')
  abortSocket(ours)
  await once(ours, 'close', soon())
  assert.deepEqual(errors, [])
})

test('a connection with bytes the program has not read, ended and aborted, is taken for failed by the program', { timeout: 20_000 }, async (t) => {
  const { ours, program } = await connected(t)
  const failed = once(program, 'error', soon()).catch((error: unknown) => [error])
  ours.on('error', () => {}).end(Buffer.alloc(32 * 1_048_576))
  await once(program, 'readable', soon())
  abortSocket(ours)
  await once(ours, 'close', soon())
  program.resume()
  const [error] = (await failed) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'ECONNRESET')
})
