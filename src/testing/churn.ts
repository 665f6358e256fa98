import type { CrashOptions, SimNode } from './node.ts'
import type { Simulation } from './simulation.ts'

export interface ChurnOptions {
  /** Part of the nodes that goes out each minute: 0.1 is a tenth. */
  readonly perMinute: number
  /** How long each stays away, virtual ms, evenly spread between the two. Default 5 to 60 s. */
  readonly downMs?: readonly [number, number]
  /** Who may go out. Default: everybody. */
  readonly nodes?: readonly SimNode[]
  readonly crash?: CrashOptions
}

export interface Churn {
  /** Nodes that went out so far. */
  readonly crashes: number
  /** Nobody goes out any more; who is away comes back in its time. */
  stop(): void
}

const MINUTE_MS = 60_000

/** Nodes go out at random and come back with what their disk kept, until stopped. */
export function startChurn(sim: Simulation, options: ChurnOptions): Churn {
  const { perMinute, downMs = [5_000, 60_000], crash } = options
  if (!(perMinute > 0)) throw new TypeError('perMinute must be above 0')
  const nodes = options.nodes ?? sim.all()
  const everyMs = MINUTE_MS / (perMinute * nodes.length)
  let crashes = 0
  let stopped = false
  const next = (): void => {
    // Full jitter with the right mean: the gaps between two crashes are not all alike.
    sim.after(2 * everyMs * sim.random.unit(), () => {
      if (stopped) return
      const up = nodes.filter(({ running }) => running)
      const node = up[Math.floor(sim.random.unit() * up.length)]
      if (node !== undefined) {
        crashes++
        node.crash(crash)
        sim.after(downMs[0] + (downMs[1] - downMs[0]) * sim.random.unit(), () => node.restart())
      }
      next()
    })
  }
  next()
  return {
    get crashes() {
      return crashes
    },
    stop: () => {
      stopped = true
    },
  }
}
