import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { createLogger, silentLogger } from '../../src/core/observe/log.ts'
import { loggable } from '../../src/core/observe/loggable.ts'
import { createMetrics, MAX_SERIES, silentMetrics } from '../../src/core/observe/metrics.ts'
import { createTracer, type SpanRecord, silentTracer } from '../../src/core/observe/trace.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Secret } from '../../src/core/secret.ts'

function collect(level?: 'debug' | 'info' | 'warn' | 'error' | 'silent') {
  const lines: string[] = []
  const logger = createLogger({ ...(level === undefined ? {} : { level }), destination: { write: (line) => lines.push(line) } })
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? 'null') as Record<string, unknown> }
}

test('logger, each call, writes one line of JSON with event and fields', () => {
  const { logger, lines, last } = collect()
  logger.info('link.up', { peer: 'did:icn:z1', rttMs: 3 })
  assert.equal(lines.length, 1)
  assert.ok(lines[0]?.endsWith('}\n'))
  const { time, ...rest } = last()
  assert.equal(typeof time, 'number')
  assert.deepEqual(rest, { level: 'info', event: 'link.up', peer: 'did:icn:z1', rttMs: 3 })
  logger.warn('bare')
  assert.equal(last().level, 'warn')
})

test('logger, below its level, writes nothing and does not look at the fields', () => {
  const { logger, lines } = collect('warn')
  const untouched = {
    get field(): never {
      throw new Error('looked at')
    },
  }
  logger.debug('a', untouched)
  logger.info('b', untouched)
  assert.equal(lines.length, 0)
  logger.error('c', untouched)
  assert.match(lines[0] ?? '', /unreadable/)
})

test('child logger, its fields, stand on every line and are filtered too', () => {
  const { logger, last } = collect('debug')
  logger
    .child({ room: 'mesh', key: Buffer.from('sixteen byte key') })
    .child({ peer: 'p' })
    .debug('x', { n: 1 })
  const { room, key, peer, n } = last()
  assert.deepEqual({ room, key, peer, n }, { room: 'mesh', key: '[16 bytes]', peer: 'p', n: 1 })
})

test('logger, field named like its own, does not replace it', () => {
  const { logger, last } = collect()
  logger.info('real', { level: 'fake', event: 'fake', time: 'fake' })
  assert.equal(last().event, 'real')
  assert.equal(last().level, 'info')
  assert.equal(last().event_, 'fake')
})

test('logger, line breaks and controls in values, stay on one line', () => {
  const { logger, lines } = collect()
  logger.info('x', { name: 'a\n{"level":"error"}\u001b[2J\u2028' })
  assert.equal(lines.join('').split('\n').length, 2)
  assert.equal(lines.join('').includes('\u001b'), false)
})

test('log fields, secrets and bytes in any shape, never appear', () => {
  const marker = 'correct horse battery staple'
  const bytes = Buffer.from(marker)
  const { logger, lines } = collect('debug')
  logger.info('x', {
    secret: marker,
    one: Secret.take(Buffer.from(marker)),
    list: [bytes, new Uint8Array(bytes), bytes.buffer, new DataView(new ArrayBuffer(3))],
    deep: { password: marker, recoveryPhrase: marker, authToken: marker, privateKey: marker, inner: { seed: [marker] } },
    map: new Map([['ticket', marker]]),
    set: new Set([bytes]),
    url: new URL(`http://user:${'staple'}@host/path?token=${'staple'}`),
    closure: () => marker,
    error: new Error('outer', { cause: new KithError('INTERNAL', 'inner', { details: { passphrase: marker } }) }),
  })
  const text = lines.join('')
  for (const form of ['horse', 'staple', bytes.toString('hex'), bytes.toString('base64'), '99,111,114']) assert.equal(text.includes(form), false, form)
  assert.match(text, /redacted/)
  assert.match(text, /\[28 bytes\]/)
  assert.match(text, /"code":"INTERNAL"/)
})

test('loggable, values of any size or shape, are bounded', () => {
  assert.equal((loggable('x'.repeat(10_000)) as string).length, 515)
  assert.equal((loggable(Array.from({ length: 1000 }, (_, i) => i)) as unknown[]).length, 33)
  assert.equal(Object.keys(loggable(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i]))) as object).length, 33)
  const loop: { self?: unknown } = {}
  loop.self = loop
  assert.match(JSON.stringify(loggable(loop)), /\[\.\.\.\]/)
  const chain = new Error('a')
  chain.cause = chain
  assert.ok(JSON.stringify(loggable(chain)).length < 1000)
  assert.equal(loggable(12n), '12')
  assert.equal(loggable(Number.NaN), 'NaN')
  assert.equal(loggable(Symbol('x')), '[symbol]')
  assert.equal(loggable(new Date(Number.NaN)), '[date]')
  assert.equal(loggable(new Date(0)), '1970-01-01T00:00:00.000Z')
  assert.equal(loggable(null), null)
})

test('silent logger, metrics and tracer, take everything and do nothing', () => {
  silentLogger.child({ a: 1 }).error('x', { b: 2 })
  silentMetrics.counter('x_total', 'x').add()
  silentMetrics.gauge('x', 'x').set(1)
  silentMetrics.histogram('x_seconds', 'x').observe(1)
  const span = silentTracer.start('x')
  span.set({ a: 1 })
  span.end()
  assert.equal(span.traceId, '')
})

test('metrics, rendered, are the Prometheus text format', () => {
  const metrics = createMetrics()
  const opened = metrics.counter('kith_links_opened_total', 'Links opened.', ['scheme'])
  opened.add(1, { scheme: 'tcp' })
  opened.add(2, { scheme: 'tcp' })
  opened.add(1, { scheme: 'q"\\\n' })
  const links = metrics.gauge('kith_links', 'Links now.')
  links.add(3)
  links.add(-1)
  const dial = metrics.histogram('kith_dial_seconds', 'Time of a dial.', [], [0.1, 1])
  for (const value of [0.05, 0.1, 0.5, 7]) dial.observe(value)
  metrics.gauge('kith_huge', 'Back\\slash\nand line.').set(Number.POSITIVE_INFINITY)
  assert.equal(
    metrics.render(),
    `# HELP kith_links_opened_total Links opened.
# TYPE kith_links_opened_total counter
kith_links_opened_total{scheme="tcp"} 3
kith_links_opened_total{scheme="q\\"\\\\\\n"} 1
# HELP kith_links Links now.
# TYPE kith_links gauge
kith_links 2
# HELP kith_dial_seconds Time of a dial.
# TYPE kith_dial_seconds histogram
kith_dial_seconds_bucket{le="0.1"} 2
kith_dial_seconds_bucket{le="1"} 3
kith_dial_seconds_bucket{le="+Inf"} 4
kith_dial_seconds_sum 7.65
kith_dial_seconds_count 4
# HELP kith_huge Back\\\\slash\\nand line.
# TYPE kith_huge gauge
kith_huge +Inf
`,
  )
})

test('metrics, more label values than allowed, count under other', () => {
  const metrics = createMetrics()
  const counter = metrics.counter('x_total', 'x', ['peer'])
  for (let i = 0; i < 10_000; i++) counter.add(1, { peer: `p${i}` })
  const lines = metrics.render().trimEnd().split('\n').slice(2)
  assert.equal(lines.length, MAX_SERIES)
  assert.equal(lines.at(-1), `x_total{peer="other"} ${10_000 - MAX_SERIES + 1}`)
})

test('metrics, label values that only together read the same, count apart, however often they come', () => {
  const metrics = createMetrics()
  const counter = metrics.counter('kith_things_total', 'Things.', ['by', 'result'])
  const pairs = [
    ['a', 'bc'],
    ['ab', 'c'],
    ['', '1 a'],
    ['1 a', ''],
    ['"', '\n'],
  ] as const
  for (let i = 0; i < 3; i++) for (const [by, result] of pairs) counter.add(1, { by, result })
  const lines = metrics
    .render()
    .split('\n')
    .filter((line) => line.startsWith('kith_things_total{'))
  assert.equal(lines.length, pairs.length)
  assert.ok(lines.every((line) => line.endsWith(' 3')))
})

test('metrics, read-off gauge, is read at every render', () => {
  const metrics = createMetrics()
  const gauge = metrics.gauge('kith_heap_bytes', 'Heap.')
  let reads = 0
  metrics.beforeRender(() => gauge.set(++reads))
  metrics.render()
  assert.match(metrics.render(), /kith_heap_bytes 2/)
})

test('metrics, impossible use, is a mistake of the caller', () => {
  const metrics = createMetrics()
  assert.throws(() => metrics.counter('x', 'x'), TypeError)
  assert.throws(() => metrics.gauge('X y', 'x'), TypeError)
  assert.throws(() => metrics.gauge('x', 'x', ['le']), TypeError)
  assert.throws(() => metrics.histogram('x', 'x', [], [2, 1]), TypeError)
  metrics.gauge('x', 'x')
  metrics.gauge('x', 'x')
  assert.throws(() => metrics.gauge('x', 'other'), TypeError)
  assert.throws(() => metrics.counter('y_total', 'y').add(-1), TypeError)
  assert.throws(() => metrics.histogram('h', 'h').observe(Number.NaN), TypeError)
})

test('tracer, nested spans, end once with duration, parent and filtered attributes', () => {
  const clock = manualClock(1000)
  const spans: SpanRecord[] = []
  const tracer = createTracer({ clock, random: seededRandom('trace'), onEnd: (span) => spans.push(span) })
  const outer = tracer.start('dial', { attributes: { scheme: 'tcp' } })
  const inner = tracer.start('hello', { parent: outer })
  clock.advance(5)
  inner.set({ key: new Uint8Array(32) })
  inner.end(new KithError('TIMEOUT'))
  inner.end()
  clock.advance(5)
  outer.end()
  assert.equal(spans.length, 2)
  const [first, second] = spans
  assert.equal(first?.name, 'hello')
  assert.equal(first?.parentId, second?.spanId)
  assert.equal(first?.traceId, second?.traceId)
  assert.match(first?.traceId ?? '', /^[0-9a-f]{32}$/)
  assert.equal(first?.durationMs, 5)
  assert.equal(second?.durationMs, 10)
  assert.equal(second?.startedAt, 1000)
  assert.deepEqual(first?.attributes, { key: '[32 bytes]' })
  assert.deepEqual(first?.error, { code: 'TIMEOUT', message: new KithError('TIMEOUT').message, details: {} })
  assert.equal(second?.error, undefined)
})
