import { KithError } from '../core/errors.ts'
import { type AnyOperation, publishedErrors } from './define.ts'
import type { OperationDescription, OperationSummary } from './types.ts'

/** Operations that one registry holds. */
export const MAX_OPERATIONS = 10_000

/** The operations of this node, by name. */
export interface Registry {
  readonly size: number
  /** The returned function takes it out again. @throws KithError `CALL_CONFLICT` for a taken name, `BUDGET_EXCEEDED`. */
  register(operation: AnyOperation): () => void
  /** All or none. @throws as `register`. */
  registerAll(operations: Iterable<AnyOperation>): () => void
  get(name: string): AnyOperation | undefined
  /** In the order of their names. */
  all(): readonly AnyOperation[]
  onChange(listener: () => void): () => void
}

export function createRegistry(operations: Iterable<AnyOperation> = []): Registry {
  const known = new Map<string, AnyOperation>()
  const listeners = new Set<() => void>()
  const changed = (): void => {
    for (const listener of [...listeners]) listener()
  }

  function registerAll(given: Iterable<AnyOperation>): () => void {
    const added = [...given]
    const names = new Set<string>()
    for (const { name } of added) {
      if (known.has(name) || names.has(name))
        throw new KithError('CALL_CONFLICT', `The operation ${name} is registered already.`, { details: { operation: name } })
      names.add(name)
    }
    if (known.size + added.length > MAX_OPERATIONS) throw new KithError('BUDGET_EXCEEDED', 'too many operations', { details: { limit: MAX_OPERATIONS } })
    for (const operation of added) known.set(operation.name, operation)
    changed()
    return () => {
      let removed = false
      for (const operation of added) {
        if (known.get(operation.name) !== operation) continue
        known.delete(operation.name)
        removed = true
      }
      if (removed) changed()
    }
  }

  registerAll(operations)
  return {
    get size() {
      return known.size
    },
    register: (operation) => registerAll([operation]),
    registerAll,
    get: (name) => known.get(name),
    all: () => [...known.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

export function summaryOf(operation: AnyOperation, node = ''): OperationSummary {
  const { name, kind, summary } = operation
  return { name, kind, node, ...(summary === undefined ? {} : { summary }) }
}

export function descriptionOf(operation: AnyOperation, node = ''): OperationDescription {
  const { input, output, idempotent, clientStream, resumable, deadlineMs } = operation
  return {
    ...summaryOf(operation, node),
    input: input.json,
    output: output.json,
    errors: publishedErrors(operation),
    idempotent,
    clientStream,
    resumable,
    deadlineMs,
  }
}
