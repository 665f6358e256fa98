import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

/** Code of others that runs before anybody looked at it. */
const AT_INSTALL = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare', 'dependencies']
/** Optional native parts that are never built: every command of the project installs without scripts, and `allowScripts` says no where npm asks it. */
const NEVER_BUILT: ReadonlySet<string> = new Set(['ssh2', 'cpu-features'])
/** Its script prints advice about versions. */
const BENCH_NEVER_BUILT: ReadonlySet<string> = new Set(['protobufjs'])
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

interface Locked {
  readonly version?: string
  readonly resolved?: string
  readonly integrity?: string
  readonly hasInstallScript?: boolean
  readonly optional?: boolean
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
}

for (const folder of ['', 'bench/']) {
  test(`packages of ${folder === '' ? 'the project' : 'the benchmarks'}, none runs a script when it is installed and each is the one that was looked at`, () => {
    const { scripts = {} } = JSON.parse(read(`${folder}package.json`)) as { scripts?: Record<string, string> }
    for (const name of Object.keys(scripts)) assert.equal(AT_INSTALL.includes(name), false, name)
    const { packages } = JSON.parse(read(`${folder}package-lock.json`)) as { packages: Record<string, Locked> }
    for (const [path, locked] of Object.entries(packages)) {
      if (path === '') continue
      if (!(folder === '' ? NEVER_BUILT : BENCH_NEVER_BUILT).has(path.slice('node_modules/'.length))) assert.equal(locked.hasInstallScript, undefined, path)
      assert.equal(locked.resolved, undefined, path)
      assert.match(locked.version ?? '', /^\d+\.\d+\.\d+/, path)
      // The registry in use may not carry the packages of other platforms: those are pinned by version alone, and only those.
      const elsewhere = locked.optional === true && (locked.os !== undefined || locked.cpu !== undefined)
      if (locked.integrity === undefined) assert.ok(elsewhere, path)
      else assert.match(locked.integrity, /^sha512-/, path)
    }
  })
}

test('packages with a native part that is never built, npm is told so', () => {
  const { allowScripts } = JSON.parse(read('package.json')) as { allowScripts: Record<string, boolean> }
  assert.deepEqual(allowScripts, Object.fromEntries([...NEVER_BUILT].map((name) => [name, false])))
})

test('installing by the project’s own commands, runs no script of a package', () => {
  const source = read('scripts/lib/toolchain.mjs')
  assert.match(source, /'ci', '--ignore-scripts'/)
  // What a person is told to run instead does not either.
  for (const [command] of source.matchAll(/npm (?:ci|install)[^'`\n]*/g)) assert.match(command, /^npm ci --ignore-scripts|^npm could/, command)
})

test('what is published, holds no source, no test and no setting of npm', () => {
  const { files } = JSON.parse(read('package.json')) as { files: readonly string[] }
  assert.deepEqual([...files].sort(), ['CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'dist'])
})
