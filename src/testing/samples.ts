/** Numbers of one kind that a scenario collects: latencies in virtual ms, sizes. */
export class Samples {
  readonly #values: number[] = []
  #sorted = true

  add(value: number): void {
    if (!Number.isFinite(value)) throw new TypeError('a sample is a finite number')
    this.#sorted &&= value >= (this.#values.at(-1) ?? value)
    this.#values.push(value)
  }

  get count(): number {
    return this.#values.length
  }

  get total(): number {
    return this.#values.reduce((sum, value) => sum + value, 0)
  }

  get mean(): number {
    return this.count === 0 ? Number.NaN : this.total / this.count
  }

  get median(): number {
    return this.percentile(50)
  }

  get max(): number {
    return this.percentile(100)
  }

  /** The smallest value that at least `percent` of all values do not exceed; NaN without values. */
  percentile(percent: number): number {
    if (!(percent >= 0 && percent <= 100)) throw new TypeError('a percentile lies between 0 and 100')
    if (!this.#sorted) this.#values.sort((a, b) => a - b)
    this.#sorted = true
    return this.#values[Math.max(0, Math.ceil((percent / 100) * this.count) - 1)] ?? Number.NaN
  }

  toString(): string {
    const of = (value: number): string => value.toFixed(1)
    return `${this.count} samples, median ${of(this.median)}, p99 ${of(this.percentile(99))}, max ${of(this.max)}`
  }
}
