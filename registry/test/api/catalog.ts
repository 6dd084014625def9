/** Stores with a catalog, from registrations in the words of `PUT /v1/catalog/register`. */
import assert from 'node:assert/strict'
import { encodeCommand, Store } from '../../src/store/store.ts'

export interface Registration {
  Node: string
  Address: string
  TaggedAddresses?: Record<string, string>
  NodeMeta?: Record<string, string>
  SkipNodeUpdate?: boolean
  Service?: {
    ID?: string
    Service: string
    Tags?: string[]
    Address?: string
    Port?: number
    TaggedAddresses?: Record<string, { Address: string; Port: number }>
    Weights?: { Passing: number; Warning: number }
  }
  Check?: RegisteredCheck
  Checks?: RegisteredCheck[]
}
export interface RegisteredCheck {
  CheckID?: string
  Name: string
  Status: string
  ServiceID?: string
}

export function storeOf(registrations: readonly Registration[]): Store {
  const store = new Store()
  for (const registration of registrations) register(store, registration)
  return store
}

export function register(store: Store, registration: Registration): void {
  const { Service: service, Check: check, Checks: checks } = registration
  const tagged = Object.entries(service?.TaggedAddresses ?? {})
  const result = store.apply(
    store.index + 1,
    encodeCommand({
      type: 'catalog.register',
      node: {
        id: '',
        name: registration.Node,
        address: registration.Address,
        datacenter: 'dc1',
        taggedAddresses: registration.TaggedAddresses ?? null,
        meta: registration.NodeMeta ?? null,
      },
      ...(registration.SkipNodeUpdate ? { skipNodeUpdate: true } : {}),
      ...(service === undefined
        ? {}
        : {
            service: {
              id: service.ID ?? service.Service,
              name: service.Service,
              tags: service.Tags ?? [],
              address: service.Address ?? '',
              port: service.Port ?? 0,
              taggedAddresses: Object.fromEntries(
                tagged.map(([key, { Address: address, Port: port }]) => [key, { address, port }]),
              ),
              meta: null,
              weights: { passing: service.Weights?.Passing ?? 1, warning: service.Weights?.Warning ?? 1 },
              enableTagOverride: false,
            },
          }),
      checks: [...(check ? [check] : []), ...(checks ?? [])].map((registered) => ({
        id: registered.CheckID ?? registered.Name,
        name: registered.Name,
        status: registered.Status,
        notes: '',
        output: '',
        serviceId: registered.ServiceID ?? '',
        type: '',
        definition: {},
      })),
    }),
  )
  assert.deepEqual(result, { value: true })
}
