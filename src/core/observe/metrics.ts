/**
 * Counters, gauges and histograms. Names carry their unit and kind: `kith_links`, `kith_link_bytes_total`, `kith_dial_seconds`.
 *
 * Labels have few, known values (a transport, a code), never an identifier or anything a peer chooses; should one slip in, a metric keeps at most
 * `MAX_SERIES` combinations and counts the rest under `other`.
 */
export interface Metrics {
  /** Only grows; its name ends in `_total`. */
  counter<L extends string = never>(name: string, help: string, labels?: readonly L[]): Counter<L>
  gauge<L extends string = never>(name: string, help: string, labels?: readonly L[]): Gauge<L>
  /** `buckets`: upper bounds, rising; the default suits seconds from a millisecond to half a minute. */
  histogram<L extends string = never>(name: string, help: string, labels?: readonly L[], buckets?: readonly number[]): Histogram<L>
}

export type Labels<L extends string> = { readonly [name in L]: string }

export interface Counter<L extends string = never> {
  add(amount?: number, labels?: Labels<L>): void
}

export interface Gauge<L extends string = never> {
  set(value: number, labels?: Labels<L>): void
  add(amount: number, labels?: Labels<L>): void
}

export interface Histogram<L extends string = never> {
  observe(value: number, labels?: Labels<L>): void
}

/** A metric as it was registered. */
export interface MetricFamily {
  readonly name: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
}

export interface MetricsRegistry extends Metrics {
  /** Every metric registered so far, whether or not it has counted anything. */
  families(): readonly MetricFamily[]
  /** Runs before every `render`: for gauges that are read off something. */
  beforeRender(run: () => void): void
  /** The Prometheus text exposition format, version 0.0.4. */
  render(): string
}

export const MAX_SERIES = 100
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
const OTHER = 'other'
const MAX_KEY = 256
const SECONDS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

const ignore = { add: () => undefined, set: () => undefined, observe: () => undefined }
export const silentMetrics: Metrics = { counter: () => ignore, gauge: () => ignore, histogram: () => ignore }

export function createMetrics(): MetricsRegistry {
  return new Registry()
}

type Kind = MetricFamily['kind']

class Registry implements MetricsRegistry {
  readonly #families: Map<string, Family> = new Map()
  readonly #before: (() => void)[] = []

  counter<L extends string>(name: string, help: string, labels: readonly L[] = []): Counter<L> {
    if (!name.endsWith('_total')) throw new TypeError(`a counter's name ends in _total: ${name}`)
    const family = this.#family('counter', name, help, labels)
    return {
      add(amount = 1, values) {
        if (!(amount >= 0)) throw new TypeError(`a counter does not grow by ${amount}`)
        family.series(values).value += amount
      },
    }
  }

  gauge<L extends string>(name: string, help: string, labels: readonly L[] = []): Gauge<L> {
    const family = this.#family('gauge', name, help, labels)
    return {
      set(value, values) {
        family.series(values).value = value
      },
      add(amount, values) {
        family.series(values).value += amount
      },
    }
  }

  histogram<L extends string>(name: string, help: string, labels: readonly L[] = [], buckets: readonly number[] = SECONDS): Histogram<L> {
    if (buckets.some((bound, i) => i > 0 && !(bound > (buckets[i - 1] as number)))) throw new TypeError(`the buckets of ${name} do not rise`)
    const family = this.#family('histogram', name, help, labels, buckets)
    return { observe: (value, values) => family.observe(value, values) }
  }

  beforeRender(run: () => void): void {
    this.#before.push(run)
  }

  families(): readonly MetricFamily[] {
    return [...this.#families.values()].map(({ name, kind, help, labels }) => ({ name, kind, help, labels }))
  }

  render(): string {
    for (const run of this.#before) run()
    return [...this.#families.values()].map((family) => family.render()).join('')
  }

  /** Asking twice for one metric gives the same; asking for it with another shape is a mistake. */
  #family(kind: Kind, name: string, help: string, labels: readonly string[], buckets: readonly number[] = []): Family {
    if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new TypeError(`not a metric's name: ${name}`)
    for (const label of labels) if (!/^[a-z][a-z0-9_]*$/.test(label) || label === 'le') throw new TypeError(`not a label: ${label}`)
    const shape = JSON.stringify([kind, help, labels, buckets])
    const known = this.#families.get(name)
    if (known !== undefined && known.shape !== shape) throw new TypeError(`the metric ${name} exists with another shape`)
    const family = known ?? new Family(kind, name, help, labels, buckets, shape)
    this.#families.set(name, family)
    return family
  }
}

interface Series {
  readonly labels: string
  value: number
  /** Histograms: observations per bucket, the last one for everything above; `value` is their sum. */
  readonly counts: number[]
}

class Family implements MetricFamily {
  readonly shape: string
  readonly kind: Kind
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
  readonly #buckets: readonly number[]
  readonly #series: Map<string, Series> = new Map()
  /** The same by their values as they are given: writing labels out costs more than counting. */
  readonly #known: Map<string, Series> = new Map()

  constructor(kind: Kind, name: string, help: string, labels: readonly string[], buckets: readonly number[], shape: string) {
    this.kind = kind
    this.name = name
    this.help = help
    this.labels = labels
    this.#buckets = buckets
    this.shape = shape
    if (labels.length === 0) this.series(undefined)
  }

  series(values: { readonly [name: string]: string } | undefined): Series {
    let key = ''
    for (const name of this.labels) {
      const value = values?.[name] ?? ''
      key += `${value.length} ${value}`
    }
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const series = this.#find(values)
    if (this.#known.size < MAX_SERIES && key.length <= MAX_KEY) this.#known.set(key, series)
    return series
  }

  #find(values: { readonly [name: string]: string } | undefined): Series {
    const labels = this.labels.map((name) => `${name}="${escapeLabel(values?.[name] ?? '')}"`).join(',')
    const known = this.#series.get(labels)
    if (known !== undefined) return known
    const full = this.#series.size >= MAX_SERIES - 1
    const text = full ? this.labels.map((name) => `${name}="${OTHER}"`).join(',') : labels
    const series = this.#series.get(text) ?? { labels: text, value: 0, counts: this.kind === 'histogram' ? [...this.#buckets, 0].map(() => 0) : [] }
    this.#series.set(text, series)
    return series
  }

  observe(value: number, values: { readonly [name: string]: string } | undefined): void {
    if (Number.isNaN(value)) throw new TypeError('not a number')
    const series = this.series(values)
    const at = this.#buckets.findIndex((bound) => value <= bound)
    const bucket = at === -1 ? this.#buckets.length : at
    series.counts[bucket] = (series.counts[bucket] as number) + 1
    series.value += value
  }

  render(): string {
    let text = `# HELP ${this.name} ${this.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${this.name} ${this.kind}\n`
    for (const series of this.#series.values()) {
      text += this.kind === 'histogram' ? this.#renderHistogram(series) : line(this.name, series.labels, series.value)
    }
    return text
  }

  #renderHistogram(series: Series): string {
    const comma = series.labels === '' ? '' : ','
    let text = ''
    let seen = 0
    series.counts.forEach((count, i) => {
      seen += count
      text += line(`${this.name}_bucket`, `${series.labels}${comma}le="${this.#buckets[i] ?? '+Inf'}"`, seen)
    })
    return text + line(`${this.name}_sum`, series.labels, series.value) + line(`${this.name}_count`, series.labels, seen)
  }
}

function line(name: string, labels: string, value: number): string {
  const shown = Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : value < 0 ? '-Inf' : 'NaN'
  return `${name}${labels === '' ? '' : `{${labels}}`} ${shown}\n`
}

/** Values are cut: a label is a word, not a text. */
function escapeLabel(value: string): string {
  return value.slice(0, 64).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
