import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Callee, IncomingCall, OperationSummary, StreamItem } from '../../src/call/types.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { parseExecLine } from '../../src/ssh/exec-line.ts'
import { exec, login, testDoor, userKey } from './support.ts'

class FakeCallee implements Callee {
  readonly calls: IncomingCall[] = []
  aborted = false

  async call(request: IncomingCall): Promise<unknown> {
    this.calls.push(request)
    if (request.path === 'a/denied') throw new KithError('CALL_DENIED')
    if (request.path === 'a/broken') throw new Error('a secret of the handler')
    return { echo: request.input }
  }

  async *stream(request: IncomingCall): AsyncIterableIterator<StreamItem> {
    this.calls.push(request)
    try {
      for (let n = 0; request.path === 'a/endless' || n < 3; n++) yield { value: request.path === 'a/endless' ? 'x'.repeat(100_000) : n }
    } finally {
      this.aborted = true
    }
  }

  async list(): Promise<readonly OperationSummary[]> {
    return [{ name: 'a/echo', kind: 'query', node: '' }]
  }

  async describe(path: string) {
    const kind = path === 'a/count' || path === 'a/endless' ? ('subscription' as const) : ('query' as const)
    return { name: path, kind, node: '', input: true, output: true, errors: {}, idempotent: true, clientStream: false, resumable: false, deadlineMs: null }
  }

  onChange(): () => void {
    return () => {}
  }
}

async function at() {
  const callee = new FakeCallee()
  const door = testDoor({ callee })
  const key = userKey()
  door.identity.allow(key)
  const client = await login(door.dial(), { key })
  return {
    callee,
    client,
    end() {
      client.end()
      door.door.close()
    },
  }
}

test('an operation, is called with what stands behind its path, byte for byte', async () => {
  const { callee, client, end } = await at()
  assert.deepEqual(await exec(client, 'call a/echo {"text": "two  blanks; $(rm) `x` \\" \'"}'), {
    out: `${JSON.stringify({ echo: { text: 'two  blanks; $(rm) `x` " \'' } })}\n`,
    err: '',
    status: 0,
  })
  assert.deepEqual((await exec(client, 'call a/echo -', '[1,2]')).out, '{"echo":[1,2]}\n')
  assert.deepEqual((await exec(client, 'call /node/a/echo')).out, '{}\n')
  assert.deepEqual(
    callee.calls.map(({ caller }) => caller.via),
    ['ssh-key', 'ssh-key', 'ssh-key'],
  )
  end()
})

test('a subscription, is printed a line per value', async () => {
  const { client, end } = await at()
  assert.deepEqual(await exec(client, 'call a/count'), { out: '0\n1\n2\n', err: '', status: 0 })
  end()
})

test('an endless subscription, waits for a client that does not read, and ends with it', async () => {
  const { callee, client, end } = await at()
  await new Promise<void>((resolve, reject) =>
    client.exec('call a/endless', (error, channel) => {
      if (error !== undefined) return reject(error)
      channel.once('data', () => {
        channel.pause()
        resolve()
      })
    }),
  )
  end()
  await once(client, 'close')
  for (let i = 0; i < 100 && !callee.aborted; i++) await new Promise(setImmediate)
  assert.equal(callee.aborted, true)
})

test('what may be called, is listed', async () => {
  const { client, end } = await at()
  assert.deepEqual(await exec(client, 'ops'), { out: '{"name":"a/echo","kind":"query","node":""}\n', err: '', status: 0 })
  end()
})

const STATUSES: readonly (readonly [string, number, string])[] = [
  ['call a/denied', 4, 'CALL_DENIED'],
  ['call a/broken', 1, 'CALL_FAILED'],
  ['call a/echo {', 2, 'CALL_INPUT'],
  ['rm -rf /', 2, 'USAGE'],
  ['call', 2, 'USAGE'],
  ['call ../x', 2, 'USAGE'],
  ['scp -t /', 2, 'USAGE'],
  ['sh -c "call a/echo"', 2, 'USAGE'],
  ['ops; id', 2, 'USAGE'],
  ['', 2, 'USAGE'],
]
for (const [command, status, code] of STATUSES) {
  test(`the command "${command}", ends with ${status} and ${code}`, async () => {
    const { client, end } = await at()
    const result = await exec(client, command)
    assert.equal(result.status, status)
    assert.equal((JSON.parse(result.err) as { error: { code: string } }).error.code, code)
    assert.ok(!result.err.includes('secret'))
    end()
  })
}

test('input beyond a mebibyte, is refused', async () => {
  const { callee, client, end } = await at()
  const result = await exec(client, 'call a/echo -', `"${'x'.repeat(1_100_000)}"`)
  assert.deepEqual([result.status, callee.calls.length], [2, 0])
  end()
})

test('a login without a command, is told so and ends; terminals, agents and X11 are refused', async () => {
  const { client, end } = await at()
  const told = await new Promise<string>((resolve, reject) =>
    client.shell(false, (error, channel) => {
      if (error !== undefined) return reject(error)
      let text = ''
      channel.stderr.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      channel.on('close', () => resolve(text))
      channel.resume()
    }),
  )
  assert.match(told, /no shell here/)
  await assert.rejects(new Promise((_, reject) => client.shell({ term: 'vt100' }, (error) => reject(error))), /pseudo-terminal/)
  await assert.rejects(new Promise((_, reject) => client.shell(false, { x11: true }, (error) => reject(error))), /X11/)
  await assert.rejects(new Promise((_, reject) => client.subsys('other', (error) => reject(error))))
  end()
})

test('any line, is one of the commands or refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `call ${text}`),
      ),
      (line) => {
        try {
          const command = parseExecLine(line)
          if (command.kind === 'call') assert.match(command.path, /^\/?[A-Za-z0-9][A-Za-z0-9._:/-]*$/)
        } catch (error) {
          assert.ok(isKithError(error, 'USAGE'))
        }
      },
    ),
    { numRuns: 500 },
  )
})
