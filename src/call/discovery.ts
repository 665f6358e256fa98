import type { AnyOperation } from './define.ts'
import { defineOperation } from './define.ts'
import { unknownOperation } from './errors.ts'
import { jsonSchema } from './schema.ts'
import type { Callee, OperationDescription, OperationSummary } from './types.ts'

const SUMMARY = {
  type: 'object',
  properties: { name: { type: 'string' }, kind: { enum: ['query', 'mutation', 'subscription'] }, node: { type: 'string' }, summary: { type: 'string' } },
  required: ['name', 'kind', 'node'],
} as const

/** `/services/list` and `/services/schema`: what this caller may call, and nothing of the rest. */
export function discoveryOperations(root: () => Callee): readonly AnyOperation[] {
  return [
    defineOperation({
      name: 'services/list',
      kind: 'query',
      access: 'everyone',
      visibility: 'listed',
      summary: 'The operations that the caller may call.',
      input: jsonSchema<Record<string, never> | undefined>(true),
      output: jsonSchema<{ operations: readonly OperationSummary[] }>({
        type: 'object',
        properties: { operations: { type: 'array', items: SUMMARY } },
        required: ['operations'],
      }),
      handler: async (_input, { caller }) => ({ operations: await root().list(caller) }),
    }),
    defineOperation({
      name: 'services/schema',
      kind: 'query',
      access: 'everyone',
      visibility: 'listed',
      summary: 'What one operation takes and gives. `name` is service/op or /node/service/op.',
      input: jsonSchema<{ name: string }>({
        type: 'object',
        properties: { name: { type: 'string', maxLength: 300 } },
        required: ['name'],
        additionalProperties: false,
      }),
      output: jsonSchema<OperationDescription>({
        type: 'object',
        properties: { ...SUMMARY.properties, input: true, output: true },
        required: ['name', 'kind', 'input', 'output'],
      }),
      errors: { CALL_UNKNOWN: true },
      handler: async ({ name }, { caller }) => {
        const described = await root().describe(name, caller)
        if (described === undefined) throw unknownOperation()
        return described
      },
    }),
  ]
}
