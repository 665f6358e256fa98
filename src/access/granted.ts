import type { Did } from '../identity/did.ts'
import type { Grant } from './sources.ts'

/** What several grants come to together. */
export interface Granted {
  readonly scopes: ReadonlySet<string>
  readonly resources: ReadonlyMap<string, readonly string[]>
  readonly did: Did | undefined
}

/** All that may be taken back, each as one text: no scope has a blank in it. */
export function powersOf({ scopes, resources, did }: Granted): ReadonlySet<string> {
  if (resources.size === 0 && did === undefined) return scopes
  const actions = [...resources].flatMap(([name, all]) => [`resource ${name}`, ...all.map((action) => `resource ${name} ${action}`)])
  return new Set([...scopes, ...actions, ...(did === undefined ? [] : [`identity ${did}`])])
}

export function sum(grants: readonly Grant[]): Omit<Granted, 'did'> {
  const resources = new Map<string, readonly string[]>()
  for (const grant of grants)
    for (const [name, actions] of Object.entries(grant.resources ?? {})) resources.set(name, [...new Set([...(resources.get(name) ?? []), ...actions])])
  return { scopes: new Set(grants.flatMap((grant) => grant.scopes)), resources }
}
