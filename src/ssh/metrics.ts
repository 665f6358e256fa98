import type { Metrics } from '../core/observe/metrics.ts'

export interface SshMetrics {
  connections(change: number): void
  sessions(change: number): void
  logins(result: 'accept' | 'reject'): void
  refused(reason: string): void
}

export function sshMetrics(metrics: Metrics): SshMetrics {
  const connections = metrics.gauge('kith_ssh_connections', 'Connections at the SSH door, logged in or not.')
  const sessions = metrics.gauge('kith_ssh_sessions', 'Those that are logged in.')
  const logins = metrics.counter('kith_ssh_logins_total', 'Keys that were shown at the SSH door, by what came of it.', ['result'])
  const refused = metrics.counter('kith_ssh_refused_total', 'Connections that the SSH door did not take or cut off, by why.', ['reason'])
  return {
    connections: (change) => connections.add(change),
    sessions: (change) => sessions.add(change),
    logins: (result) => logins.add(1, { result }),
    refused: (reason) => refused.add(1, { reason }),
  }
}
