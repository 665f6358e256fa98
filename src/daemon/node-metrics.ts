import type { Clock } from '../core/clock.ts'
import type { MetricsRegistry } from '../core/observe/metrics.ts'
import type { Supervisor } from './supervisor.ts'

/** Gauges of the process itself, read when somebody looks. */
export function nodeMetrics(metrics: MetricsRegistry, options: { readonly clock: Clock; readonly supervisor: Supervisor; readonly version: string }): void {
  const { clock, supervisor, version } = options
  const started = clock.monotonic()
  metrics.gauge('kith_build_info', 'Always 1; the label says which version runs.', ['version']).set(1, { version })
  const uptime = metrics.gauge('kith_uptime_seconds', 'Time since the node started.')
  const resident = metrics.gauge('kith_resident_bytes', 'Memory of the process.')
  const running = metrics.gauge('kith_service_running', '1 while a part of the node runs, 0 while it does not.', ['service'])
  const degraded = metrics.gauge('kith_degraded', 'Things that kith status calls degraded.')
  metrics.beforeRender(() => {
    uptime.set(Math.floor((clock.monotonic() - started) / 1_000))
    resident.set(process.memoryUsage.rss())
    for (const { name, state } of supervisor.services()) running.set(state === 'running' ? 1 : 0, { service: name })
    degraded.set(supervisor.troubles().length)
  })
}
