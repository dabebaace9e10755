/** Names for containers that were not given one: a quality and something found in a harbour. */

const QUALITIES =
  "able agile amber ample apt azure bold brave breezy bright brisk calm candid civil clear clever cosy crisp daring deep eager early easy even fair fast fine firm fleet fond free fresh frank gallant gentle glad golden good grand great green happy hardy hearty honest humble jolly jovial just keen kind late level light lively loyal lucky mellow merry mild neat nimble noble open patient placid plain polite prime proud quick quiet rapid ready robust rosy ruddy sage salty serene sharp shiny silent silver simple sleek smart smooth snug sober solid sound spry stable steady still stout strong sturdy sunny sure swift tidy tough trim true trusty upright vivid warm wary wide windy wise witty young zealous".split(
    " ",
  );
const HARBOUR =
  "anchor ballast barge beacon bilge boatswain bollard boom bosun bow breakwater brig buoy cable caique canal captain capstan caravel cargo catamaran channel chart clipper cockle compass corvette cove coxswain crane current cutter davit deck dhow dinghy dock drifter ebb estuary felucca fender ferry fjord frigate galleon galley gangway gull halyard harbour haven hawser helm hull inlet islet jetty jib junk kayak keel ketch lagoon landing lantern lateen launch levee lifeboat lighter lighthouse lugger mainsail mariner marina mast mole mooring navigator oar oarlock packet painter pier pilot pinnace pontoon porthole punt quay raft rigging rudder sail sampan schooner scow sextant shallop shoal skiff slipway sloop spar steward stern strait tender tide tiller topsail trawler tug vessel wharf whaler wherry windlass xebec yacht yawl".split(
    " ",
  );

/** "steady_quay"; after a few attempts with a number behind it, so that it always ends. */
export function randomName(isTaken: (name: string) => boolean, random: () => number = Math.random): string {
  const pick = (words: readonly string[]) => words[Math.floor(random() * words.length)] ?? "berth";
  for (let attempt = 0; ; attempt++) {
    const suffix = attempt < 5 ? "" : String(attempt - 5);
    const name = `${pick(QUALITIES)}_${pick(HARBOUR)}${suffix}`;
    if (!isTaken(name)) return name;
  }
}
