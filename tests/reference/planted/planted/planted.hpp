// planted.hpp - the same in C++.
#ifndef CANOPY_PLANTED_HPP
#define CANOPY_PLANTED_HPP

namespace canopy
{
// A class, of which two
// lines tell.
class planted
{
  public:
    // A method.
    int told() const;

    template <class T> int bare(T) const
    {
        // Not about the method.
        return 0;
    }

  private:
    int own();
};

// A template.
template <class T> struct told {
    T bare;
};

int bare(int number);

namespace detail
{
int own();
}
} // namespace canopy

#endif
