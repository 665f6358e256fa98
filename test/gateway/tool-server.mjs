/** A server of the Model Context Protocol on stdin and stdout, whose tools are good, slow, large and broken. */
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const object = { type: 'object' }
let cancelled = 0
const server = new Server({ name: 'tools', version: '1' }, { capabilities: { tools: {} } })
const TOOLS = [
  {
    name: 'add',
    description: 'Adds\n two numbers',
    inputSchema: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'], additionalProperties: false },
    outputSchema: { type: 'object', properties: { sum: { type: 'number' } }, required: ['sum'] },
    annotations: { readOnlyHint: true },
  },
  { name: 'lie', inputSchema: object, outputSchema: { type: 'object', properties: { sum: { type: 'number' } }, required: ['sum'] } },
  { name: 'say', inputSchema: object },
  { name: 'wait', inputSchema: object },
  { name: 'cancelled', inputSchema: object },
  { name: 'large', inputSchema: object },
  { name: 'fail', inputSchema: object },
  { name: 'environment', inputSchema: object },
  { name: '1 bad name', inputSchema: object },
  { name: 'far', inputSchema: { type: 'object', properties: { a: { $ref: 'https://evil.example/x' } } } },
]
server.setRequestHandler(ListToolsRequestSchema, async ({ params }) =>
  params?.cursor === 'more' ? { tools: TOOLS.slice(5) } : { tools: TOOLS.slice(0, 5), nextCursor: 'more' },
)
const text = (said) => ({ content: [{ type: 'text', text: said }] })
server.setRequestHandler(CallToolRequestSchema, async ({ params: { name, arguments: given } }, { signal }) => {
  switch (name) {
    case 'add':
      return { ...text(''), structuredContent: { sum: given.a + given.b } }
    case 'lie':
      return { ...text(''), structuredContent: { sum: 'many' } }
    case 'wait':
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      cancelled += 1
      return text('')
    case 'cancelled':
      return text(String(cancelled))
    case 'large':
      return text('x'.repeat(2_000_000))
    case 'fail':
      return { isError: true, ...text('no such file') }
    case 'environment':
      return text(Object.keys(process.env).sort().join(' '))
    default:
      return text('hello')
  }
})
await server.connect(new StdioServerTransport())
