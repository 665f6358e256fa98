import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { isKithError, type KithError } from '../../src/core/errors.ts'
import { formatDuration, parseDuration } from '../../src/daemon/config/duration.ts'
import { openConfig } from '../../src/daemon/config/holder.ts'
import { limitOverrides } from '../../src/daemon/config/limits.ts'
import { loadConfig } from '../../src/daemon/config/load.ts'
import { environmentName, SETTING_PATHS } from '../../src/daemon/config/settings.ts'
import { constraintTable, DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'

let home = ''
before(async () => {
  home = await mkdtemp(join(tmpdir(), 'kith-config-'))
})
after(() => rm(home, { recursive: true, force: true }))

const write = (text: string): Promise<void> => writeFile(join(home, 'config.toml'), text)
const invalid = async (input: { env?: Record<string, string>; flags?: object } = {}): Promise<KithError> => {
  try {
    await loadConfig({ home, env: {}, ...input })
  } catch (error) {
    assert.ok(isKithError(error, 'CONFIG_INVALID'), `expected CONFIG_INVALID, got ${String(error)}`)
    return error
  }
  return assert.fail('the configuration was accepted')
}

test('configuration, no file, every setting has its default', async () => {
  await rm(join(home, 'config.toml'), { force: true })
  const { values, sources } = await loadConfig({ home, env: {} })
  assert.deepEqual(Object.keys(values).sort(), [...SETTING_PATHS].sort())
  assert.ok(Object.values(sources).every((source) => source === 'default'))
})

test('configuration, file and environment and flag set one key, the later source wins', async () => {
  await write('[log]\nlevel = "warn"\nkeep = 7\n')
  const env = { [environmentName('log.level')]: 'error', KITH_LINK_PREFER: 'quic, tcp', KITH_LINK_REQUIRE_PQ: 'true', KITH_HOME: home, PATH: '/bin' }
  const { values, sources } = await loadConfig({ home, env, flags: { listen: ['tcp://127.0.0.1:0'] } })
  assert.equal(values['log.level'], 'error')
  assert.equal(sources['log.level'], 'environment')
  assert.equal(values['log.keep'], 7)
  assert.equal(sources['log.keep'], 'file')
  assert.deepEqual(values['link.prefer'], ['quic', 'tcp'])
  assert.equal(values['link.require_pq'], true)
  assert.deepEqual(values.listen, ['tcp://127.0.0.1:0'])
  assert.equal(sources.listen, 'flag')
})

test('configuration, durations, are written with a unit and read in ms', async () => {
  await write('[shutdown]\ndrain = "1.5s"\n')
  assert.equal((await loadConfig({ home, env: {} })).values['shutdown.drain'], 1_500)
  await write('[shutdown]\ndrain = 5\n')
  assert.equal((await invalid()).details.path, 'shutdown.drain')
})

test('configuration, unknown key, is refused with its path and the nearest name', async () => {
  await write('[link]\nrequire_qp = true\n')
  const error = await invalid()
  assert.equal(error.details.path, 'link.require_qp')
  assert.equal(error.details.nearest, 'link.require_pq')
  assert.match(error.message, /config\.toml/)
})

test('configuration, bad value inside a list, is refused with the index', async () => {
  await write('listen = ["tcp://127.0.0.1:0", "nonsense"]\n')
  assert.equal((await invalid()).details.path, 'listen.1')
  await write('listen = ["tcp://127.0.0.1:99999"]\n')
  assert.equal((await invalid()).details.path, 'listen.0')
})

test('configuration, table where a value belongs, is refused', async () => {
  await write('[log.level]\nx = 1\n')
  assert.equal((await invalid()).details.path, 'log.level')
  await write('log = 3\n')
  assert.equal((await invalid()).details.path, 'log')
})

test('configuration, broken TOML, is refused with line and column', async () => {
  await write('listen = [\n\n')
  const error = await invalid()
  assert.equal(typeof error.details.line, 'number')
  assert.equal(typeof error.details.column, 'number')
})

test('configuration, misspelt environment variable, is refused with the nearest', async () => {
  await write('')
  const error = await invalid({ env: { KITH_LOG_LEVLE: 'debug' } })
  assert.equal(error.details.nearest, 'KITH_LOG_LEVEL')
  assert.equal((await invalid({ env: { KITH_LOG_KEEP: 'many' } })).details.path, 'log.keep')
})

test('configuration, arbitrary text as file, loads or is refused with CONFIG_INVALID', async () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('[link]', 'listen = ', '"x"', 'log.level = "info"', '__proto__ = 1', '[constructor]', 'a.b.c.d.e.f.g.h.i.j = 1', '= ='),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
      await write(lines.join('\n'))
      try {
        await loadConfig({ home, env: {} })
      } catch (error) {
        assert.ok(isKithError(error, 'CONFIG_INVALID'), String(error))
      }
    }),
    { numRuns: 200 },
  )
})

test('reload, dynamic and static settings changed, applies the first and names the second', async () => {
  await write('')
  const holder = await openConfig({ home, env: {} })
  const seen: unknown[] = []
  holder.onChange((config, applied) => seen.push([config['log.level'], applied]))
  await write('[log]\nlevel = "debug"\nkeep = 9\n')
  assert.deepEqual(await holder.reload(), { applied: ['log.level'], restart: ['log.keep'] })
  assert.equal(holder.current['log.level'], 'debug')
  assert.equal(holder.current['log.keep'], 3)
  assert.deepEqual(seen, [['debug', ['log.level']]])
})

test('reload, invalid file, changes nothing', async () => {
  await write('[log]\nlevel = "debug"\n')
  const holder = await openConfig({ home, env: {} })
  await write('[log]\nlevel = "loud"\n')
  await assert.rejects(holder.reload(), (error) => isKithError(error, 'CONFIG_INVALID'))
  assert.equal(holder.current['log.level'], 'debug')
})

test('durations, written and read again, are the same', () => {
  fc.assert(fc.property(fc.nat(10 ** 10), (ms) => assert.equal(parseDuration(formatDuration(ms)), ms)))
  for (const text of ['', '10', '10 s', '-1s', '1e3s', '10x', '99999999999999999s', '١s']) assert.equal(parseDuration(text), undefined, text)
})

test('configuration, limits of a class and the least standing, are read from file and environment', async () => {
  await write('[limits.known]\nmessages_per_second = 7\n[trust]\nmin_threshold = 0.1\n')
  const { values } = await loadConfig({ home, env: { KITH_LIMITS_FEDERATED_BURST: '3', KITH_TRUST_MIN_THRESHOLD: '0.25' } })
  assert.equal(values['limits.known.messages_per_second'], 7)
  assert.equal(values['limits.federated.burst'], 3)
  assert.equal(values['trust.min_threshold'], 0.25)
  const table = limitOverrides(values)
  assert.equal(table.known?.messagesPerSecond, 7)
  assert.deepEqual(constraintTable(table).isolated, DEFAULT_CONSTRAINTS.isolated)
})

test('configuration, limits out of range or unknown, are refused with their path', async () => {
  for (const [text, path] of [
    ['[limits.known]\nlinks = 0\n', 'limits.known.links'],
    ['[limits.known]\nlinks = 1.5\n', 'limits.known.links'],
    ['[limits.nobody]\nlinks = 1\n', 'limits.nobody.links'],
    ['[trust]\nmin_threshold = 1.1\n', 'trust.min_threshold'],
    ['[trust]\nmin_threshold = "known"\n', 'trust.min_threshold'],
  ] as const) {
    await write(text)
    assert.equal((await invalid()).details.path, path)
  }
})
